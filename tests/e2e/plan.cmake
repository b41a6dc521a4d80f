e2e_test(test_sessions TIMEOUT 120)
