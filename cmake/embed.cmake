# Files embedded in the binary: embed_file(SYMBOL FILE OUT) writes OUT.c with `const struct asset SYMBOL`.
# The same file is the script that does it at build time (cmake -P).
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  file(READ ${IN} bytes HEX)
  # A source map is of no use without its file, and a browser would ask for it: the last line goes.
  # "\n//# sourceMappingURL=" and "\n/*# sourceMappingURL="
  string(REGEX REPLACE "0a2f[2a][fa]?2320736f757263654d617070696e6755524c3d.*$" "0a" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(WRITE ${OUT}.tmp
"/* Made from ${NAME} by cmake/embed.cmake. */
#include \"base/asset.h\"
extern const struct asset ${SYMBOL};
static const unsigned char bytes[] = { ${bytes} };
const struct asset ${SYMBOL} = { (const char *)bytes, sizeof(bytes) };
")
  file(RENAME ${OUT}.tmp ${OUT})
  return()
endif()

set(CHAOS_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

# embed_file(asset_report_css campaign/report/report.css out): the path of the generated .c in `out`. What is made by
# the build is named by a target behind it: embed_file(asset_x $<TARGET_FILE:x> out x).
function(embed_file symbol file out)
  set(name ${symbol})
  if(NOT ARGN)
    get_filename_component(name ${file} NAME)
  endif()
  set(c ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
  add_custom_command(OUTPUT ${c}
    COMMAND ${CMAKE_COMMAND} -DIN=${file} -DOUT=${c} -DSYMBOL=${symbol} -DNAME=${name} -P ${CHAOS_EMBED_SCRIPT}
    DEPENDS ${ARGN} $<IF:$<BOOL:${ARGN}>,,${file}> ${CHAOS_EMBED_SCRIPT}
    COMMENT "Embedding ${name}")
  set(${out} ${c} PARENT_SCOPE)
endfunction()

# embed_report_assets(campaign): the report's template, style and script, and dygraphs from its package.
function(embed_report_assets target)
  find_file(DYGRAPHS_JS dygraph.min.js PATHS /usr/share/javascript/dygraphs NO_DEFAULT_PATH)
  find_file(DYGRAPHS_CSS dygraph.min.css PATHS /usr/share/javascript/dygraphs NO_DEFAULT_PATH)
  if(NOT DYGRAPHS_JS OR NOT DYGRAPHS_CSS)
    message(FATAL_ERROR "The charts of the HTML report need dygraphs, which was not found.\n"
      "  Debian, Ubuntu:  apt-get install libjs-dygraphs\n"
      "  elsewhere:       cmake -DDYGRAPHS_JS=/path/dygraph.min.js -DDYGRAPHS_CSS=/path/dygraph.min.css")
  endif()
  foreach(pair report_html:${PROJECT_SOURCE_DIR}/campaign/report/report.html
               report_css:${PROJECT_SOURCE_DIR}/campaign/report/report.css
               report_js:${PROJECT_SOURCE_DIR}/campaign/report/report.js
               dygraph_js:${DYGRAPHS_JS} dygraph_css:${DYGRAPHS_CSS})
    string(REGEX MATCH "^([a-z_]+):(.*)$" _ ${pair})
    embed_file(asset_${CMAKE_MATCH_1} ${CMAKE_MATCH_2} c)
    target_sources(${target} PRIVATE ${c})
  endforeach()
endfunction()
