# How everything is compiled: language, warnings, hardening, sanitizers.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_COMPILE_WARNING_AS_ERROR ON)

add_library(chaos_flags INTERFACE)
target_include_directories(chaos_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
target_compile_definitions(chaos_flags INTERFACE _GNU_SOURCE CHAOS_LOAD_VERSION="${PROJECT_VERSION}")
target_compile_options(chaos_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wformat=2 -Wstrict-prototypes
  -Wmissing-prototypes -Wold-style-definition -Wvla -Walloca -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings
  -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion -Wdate-time -fno-common
  -fvisibility=hidden -fno-strict-aliasing -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(chaos_flags INTERFACE -Wformat-signedness -Wlogical-op -Wduplicated-cond
    -Wduplicated-branches -Wuse-after-free=3)
else()
  target_compile_options(chaos_flags INTERFACE -Wcomma -Wnewline-eof -Wthread-safety
    -Wno-keyword-macro -Wno-gnu-statement-expression -Wno-gnu-zero-variadic-macro-arguments -Wno-language-extension-token)
endif()

if(CHAOS_ASAN)
  target_compile_options(chaos_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(chaos_flags INTERFACE -fsanitize=address,undefined)
endif()
if(CHAOS_TSAN)
  target_compile_options(chaos_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(chaos_flags INTERFACE -fsanitize=thread)
endif()
if(CHAOS_FUZZ)
  target_compile_options(chaos_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(CHAOS_COVERAGE)
  target_compile_options(chaos_flags INTERFACE --coverage)
  target_link_options(chaos_flags INTERFACE --coverage)
endif()
if(CHAOS_NO_STATS)
  target_compile_definitions(chaos_flags INTERFACE CHAOS_NO_STATS)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
endif()
if(CHAOS_HARDEN)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  target_compile_options(chaos_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
    -fstack-clash-protection -fcf-protection=full)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(chaos_flags INTERFACE -ftrivial-auto-var-init=zero)
    target_link_options(chaos_flags INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:CHAOS_NO_LTO>>,-fno-lto,-flto=auto>)
    # Objects that can be linked either way: the program with link-time optimisation, its many tests without.
    set(CMAKE_C_COMPILE_OPTIONS_IPO -flto=auto -ffat-lto-objects)
  endif()
  target_link_options(chaos_flags INTERFACE -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
endif()

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

# chaos_library(name SOURCES a.c b.c USES base edge): a folder's static library.
function(chaos_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC chaos_flags ${ARG_USES})
endfunction()
