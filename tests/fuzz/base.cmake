fuzz_target(fuzz_json LIBS edge base)
fuzz_target(fuzz_parse LIBS base)
fuzz_target(fuzz_yaml LIBS edge base)
