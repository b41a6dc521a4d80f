fuzz_target(fuzz_journal LIBS chaoslib)
fuzz_target(fuzz_pumba LIBS chaoslib)
fuzz_target(fuzz_cgroup LIBS chaoslib)
fuzz_target(fuzz_dns LIBS chaoslib)
