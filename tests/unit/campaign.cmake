unit_test(test_timeline LIBS campaign)
unit_test(test_felt LIBS campaign)
unit_test(test_evaluate LIBS campaign)
