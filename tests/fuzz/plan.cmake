fuzz_target(fuzz_cookies LIBS runner edge base)
fuzz_target(fuzz_load_plan LIBS runner edge base)
fuzz_target(fuzz_template LIBS runner edge base)
