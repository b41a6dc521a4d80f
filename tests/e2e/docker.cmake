e2e_test(test_docker_plans TIMEOUT 180)
needs_engine(test_docker_plans)
e2e_test(test_machine_containers TIMEOUT 180 SERIAL)
needs_engine(test_machine_containers)
