# On a Kubernetes node of their own; its binaries are built by tests/kube/build.sh.
add_executable(kube_pause ${PROJECT_SOURCE_DIR}/tests/kube/pause.c)
target_compile_options(kube_pause PRIVATE -Os)
target_link_options(kube_pause PRIVATE -static -s)
e2e_test(test_litmus TIMEOUT 400 SERIAL)
set_property(TEST test_litmus APPEND PROPERTY ENVIRONMENT "PAUSE=$<TARGET_FILE:kube_pause>;MINI_HTTP=$<TARGET_FILE:mini_http>")
