e2e_test(test_dns TIMEOUT 300 SERIAL)
