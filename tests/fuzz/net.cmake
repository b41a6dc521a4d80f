fuzz_target(fuzz_net_fault LIBS chaoslib)
