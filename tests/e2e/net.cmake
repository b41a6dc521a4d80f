e2e_test(test_net TIMEOUT 600 SERIAL)
e2e_test(test_net_gated TIMEOUT 600 SERIAL)
e2e_test(test_net_docker TIMEOUT 180 SERIAL)
needs_engine(test_net_docker)
