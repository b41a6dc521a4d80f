fuzz_target(fuzz_net_fault LIBS chaoslib)
fuzz_target(fuzz_tc LIBS edge base)
