fuzz_target(fuzz_http1 LIBS runner)
