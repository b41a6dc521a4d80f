unit_test(test_docker_engine LIBS chaoslib LABEL func SOURCES docker_fixture.c TIMEOUT 180)
needs_engine(test_docker_engine)
