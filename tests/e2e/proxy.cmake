find_package(Python3 COMPONENTS Interpreter REQUIRED)

add_test(NAME proxy_shop COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/proxy_shop.py $<TARGET_FILE:chaos-load>)
set_tests_properties(proxy_shop PROPERTIES LABELS e2e TIMEOUT 180)
e2e_test(test_fault_kinds TIMEOUT 240)
e2e_test(test_grpc TIMEOUT 180)
e2e_test(test_fault_plans TIMEOUT 240)
