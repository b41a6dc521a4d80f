fuzz_target(fuzz_result LIBS campaign)
fuzz_target(fuzz_rows LIBS campaign)
