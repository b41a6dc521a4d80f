unit_test(test_http_msg LIBS chaoslib)
unit_test(test_proxy LIBS chaoslib SOURCES proxy_net.c LABEL func TIMEOUT 180)
unit_test(test_proxy_http LIBS chaoslib SOURCES proxy_net.c LABEL func TIMEOUT 180)
set_tests_properties(test_proxy test_proxy_http PROPERTIES LABELS "func;thread")
