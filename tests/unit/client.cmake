unit_test(test_http1 LIBS runner)
unit_test(test_timers LIBS runner)
