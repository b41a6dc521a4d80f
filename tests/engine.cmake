# The private container engine (tests/tools/engine.sh): ctest starts it before the first test that asked for it and
# takes it away after the last one. Its folder is short, as a socket's path must be, and is each build folder's own.
string(SHA256 hash "${PROJECT_BINARY_DIR}")
string(SUBSTRING "${hash}" 0 8 hash)
set(CHAOS_ENGINE_DIR /tmp/chaos-load-${hash})

# For containers made from nothing: static, and without sanitizers.
add_executable(mini_http ${PROJECT_SOURCE_DIR}/tests/tools/mini_http.c)
target_compile_definitions(mini_http PRIVATE _GNU_SOURCE)
target_compile_options(mini_http PRIVATE -O2 -Wall -Wextra)
target_link_options(mini_http PRIVATE -static -s)

add_test(NAME engine_start COMMAND ${PROJECT_SOURCE_DIR}/tests/tools/engine.sh start ${CHAOS_ENGINE_DIR} $<TARGET_FILE:mini_http>)
add_test(NAME engine_stop COMMAND ${PROJECT_SOURCE_DIR}/tests/tools/engine.sh stop ${CHAOS_ENGINE_DIR})
set_tests_properties(engine_start PROPERTIES FIXTURES_SETUP engine TIMEOUT 120 SKIP_RETURN_CODE 77)
set_tests_properties(engine_stop PROPERTIES FIXTURES_CLEANUP engine TIMEOUT 120)

# needs_engine(test_docker_engine): a unit or end-to-end test that uses it, by DOCKER_HOST.
function(needs_engine name)
  set_property(TEST ${name} APPEND PROPERTY FIXTURES_REQUIRED engine)
  set_property(TEST ${name} APPEND PROPERTY RESOURCE_LOCK engine) # one counts what happens on all of it
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "DOCKER_HOST=unix://${CHAOS_ENGINE_DIR}/docker.sock")
  if(TARGET ${name})
    add_dependencies(${name} mini_http)
  endif()
endfunction()
