fuzz_target(fuzz_journal LIBS chaoslib)
