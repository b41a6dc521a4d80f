unit_test(test_fault_crash LIBS chaoslib LABEL func TIMEOUT 300)
unit_test(test_journal LIBS chaoslib)
unit_test(test_process_faults LIBS chaoslib LABEL func TIMEOUT 120)
