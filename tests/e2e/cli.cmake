find_package(Python3 COMPONENTS Interpreter REQUIRED)

# The command line as a user meets it: cli_test(name script.py args...).
function(cli_test name script)
  add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/${script} $<TARGET_FILE:chaos-load> ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS e2e TIMEOUT 600)
endfunction()

cli_test(bad_input test_bad_input.py)
cli_test(command_line test_command_line.py)
cli_test(printed test_printed.py ${PROJECT_SOURCE_DIR})
cli_test(examples test_examples.py ${PROJECT_SOURCE_DIR})
