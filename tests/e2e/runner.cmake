e2e_test(test_load TIMEOUT 240 SERIAL)
