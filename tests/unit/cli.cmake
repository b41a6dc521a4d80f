unit_test(test_opts LIBS cli_parts)
unit_test(test_plan_read LIBS campaign)
unit_test(test_subst LIBS base)
unit_test(test_threshold LIBS campaign)
