unit_test(test_process_faults LIBS chaoslib LABEL func TIMEOUT 120)
