# e2e_test(name [TIMEOUT seconds] [SERIAL]): tests/e2e/NAME.py, with the binary as a user runs it. SERIAL: its subject
# is time, so nothing else runs beside it.
function(e2e_test name)
  cmake_parse_arguments(ARG "SERIAL" "TIMEOUT" "" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/${name}.py)
  set_tests_properties(${name} PROPERTIES LABELS e2e TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "CHAOS_LOAD=$<TARGET_FILE:chaos-load>;TRUTH_SERVER=$<TARGET_FILE:truth_server>;PYTHONDONTWRITEBYTECODE=1")
  if(ARG_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

add_executable(truth_server ${PROJECT_SOURCE_DIR}/tests/tools/truth_server.c)
target_link_libraries(truth_server PRIVATE edge chaos_flags)
