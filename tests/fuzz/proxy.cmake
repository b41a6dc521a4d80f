fuzz_target(fuzz_h2 LIBS chaoslib)
fuzz_target(fuzz_http_msg LIBS chaoslib)
