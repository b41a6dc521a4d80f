unit_test(test_report SOURCES sample_result.c LIBS campaign)
unit_test(test_report_fmt LIBS campaign)
unit_test(test_report_locust SOURCES sample_result.c LIBS campaign)
unit_test(test_result SOURCES sample_result.c LIBS campaign)
unit_test(test_rows SOURCES sample_result.c LIBS campaign)
unit_test(test_term SOURCES sample_result.c LIBS campaign)

# The sample run's reports, for eyes and for tests/e2e/report_*.py.
add_executable(render_sample render_sample.c sample_result.c)
target_link_libraries(render_sample PRIVATE campaign)
