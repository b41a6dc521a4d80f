fuzz_target(fuzz_http_msg LIBS chaoslib)
