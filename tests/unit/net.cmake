unit_test(test_net_model LIBS chaoslib)
unit_test(test_net_codec LIBS chaoslib)
unit_test(test_tc LIBS edge base LABEL func)
