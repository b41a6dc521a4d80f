e2e_test(test_docker_plans TIMEOUT 180)
needs_engine(test_docker_plans)
