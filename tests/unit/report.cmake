unit_test(test_result SOURCES sample_result.c LIBS campaign)
unit_test(test_rows SOURCES sample_result.c LIBS campaign)
