e2e_test(test_faults TIMEOUT 600 SERIAL)
e2e_test(test_truth TIMEOUT 300 SERIAL)
