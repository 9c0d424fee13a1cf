# Testing: romancy_test(NAME LABEL SOURCES <files> LIBS <targets>) is one GoogleTest program.
#
# Each TEST in it becomes a ctest test with that LABEL: unit (nothing outside the process), pg (needs the private
# cluster whose conninfo ./dev test puts into ROMANCY_TEST_PG), process (runs the built daemons as well).
# The time limit is a guard against hanging, never an assertion about speed; a sanitizer multiplies it.
option(BUILD_TESTING "Build the tests (a package does without)" ON)
if(NOT BUILD_TESTING)
  return()
endif()
include(GoogleTest)
find_package(GTest REQUIRED)
enable_testing()

# What tests labelled `unit` need, and no more: what ./dev test -L unit builds.
add_custom_target(unit_tests)

# romancy_doc_source(VARIABLE NAME PAGE): a source file of the C++ blocks of a page, which the test compiles as they stand there.
function(romancy_doc_source variable name page)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  set(script ${PROJECT_SOURCE_DIR}/cmake/DocExample.cmake)
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DPAGE=${PROJECT_SOURCE_DIR}/${page} -DOUT=${source} -P ${script}
    DEPENDS ${PROJECT_SOURCE_DIR}/${page} ${script} VERBATIM)
  set(${variable} ${source} PARENT_SCOPE)
endfunction()

function(romancy_test name label)
  cmake_parse_arguments(T "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE ${T_LIBS} GTest::gmock GTest::gtest GTest::gtest_main)
  if(label STREQUAL "unit")
    add_dependencies(unit_tests ${name})
  endif()
  set(limit 120)
  if(label STREQUAL "process")
    set(limit 240)
  endif()
  if(ROMANCY_SANITIZE OR ROMANCY_TSAN)
    math(EXPR limit "${limit} * 3")
  endif()
  # Discovered when ctest runs, not when the program is linked: a build on a machine that is busy cannot fail on it.
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS ${label} TIMEOUT ${limit})
endfunction()
