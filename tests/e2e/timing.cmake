# What is about time runs in the release build, and not under the sanitizers (scripts/test.sh). What the sanitizers
# should see of the same code is in the other tests: test_doctor and test_safety make every fault for a moment.
foreach(name test_load test_truth test_net test_net_gated)
  set_property(TEST ${name} APPEND PROPERTY LABELS timing)
endforeach()

# The whole program under the thread sanitizer: campaign, injectors, watchers.
set_property(TEST test_fault_plans APPEND PROPERTY LABELS thread)
