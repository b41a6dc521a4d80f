unit_test(test_client LIBS runner SOURCES fetch.c server.c LABEL func)
unit_test(test_conn LIBS runner SOURCES fetch.c server.c LABEL func TIMEOUT 120)
unit_test(test_http1 LIBS runner)
unit_test(test_timers LIBS runner)
