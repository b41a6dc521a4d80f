e2e_test(test_dns TIMEOUT 300 SERIAL)
e2e_test(test_machine TIMEOUT 300 SERIAL)
e2e_test(test_status TIMEOUT 120)
