unit_test(test_plan_mistakes LIBS runner edge base)
