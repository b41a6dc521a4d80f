fuzz_target(fuzz_plan LIBS campaign)
fuzz_target(fuzz_threshold LIBS campaign)
fuzz_target(fuzz_words LIBS cli_parts)
