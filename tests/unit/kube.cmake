unit_test(test_kube_config LIBS chaoslib)
unit_test(test_kube_client LIBS chaoslib edge base SOURCES raw_server.c LABEL func TIMEOUT 120)
unit_test(test_litmus_result LIBS chaoslib)
target_compile_definitions(test_litmus_result PRIVATE GOLDEN_DIR="${PROJECT_SOURCE_DIR}/tests/golden")
