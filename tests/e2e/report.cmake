# The report in a real browser, and result.json against its schema. Both say plainly when they skip.
set(render $<TARGET_FILE:render_sample>)
add_test(NAME e2e_report_browser
  COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/report_browser.py ${render})
set_tests_properties(e2e_report_browser PROPERTIES LABELS e2e TIMEOUT 180 SKIP_RETURN_CODE 77)
add_test(NAME e2e_report_schema
  COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/report_schema.py ${render} ${PROJECT_SOURCE_DIR})
set_tests_properties(e2e_report_schema PROPERTIES LABELS e2e TIMEOUT 60 SKIP_RETURN_CODE 77)
add_test(NAME e2e_report_verb
  COMMAND python3 ${CMAKE_CURRENT_SOURCE_DIR}/report_verb.py ${render} $<TARGET_FILE:chaos-load>)
set_tests_properties(e2e_report_verb PROPERTIES LABELS e2e TIMEOUT 60)
