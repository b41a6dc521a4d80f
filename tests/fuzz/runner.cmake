fuzz_target(fuzz_hist LIBS runner)
