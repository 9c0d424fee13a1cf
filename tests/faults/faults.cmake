# The fault matrix (tests/support/site.hpp). `./dev test --faults` runs all of it; the default lane the suite FaultsSmoke.
add_executable(fault_worker ${CMAKE_CURRENT_LIST_DIR}/worker.cpp)
target_link_libraries(fault_worker PRIVATE romancy_sdk PkgConfig::LIBPQ)
add_library(wallclock MODULE ${CMAKE_CURRENT_LIST_DIR}/wallclock.cpp)
add_executable(test_faults
  ${CMAKE_CURRENT_LIST_DIR}/../support/chaos_proxy.cpp
  ${CMAKE_CURRENT_LIST_DIR}/processes_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hosts_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/database_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/network_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/clock_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/resources_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hub_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/points_test.cpp)
target_link_libraries(test_faults PRIVATE romancy_test_site GTest::gmock GTest::gtest GTest::gtest_main)
add_dependencies(test_faults fault_worker romancy-supervisor romancy-listener romancy-timer romancy-relay romancy_cli)
target_compile_definitions(test_faults PRIVATE ROMANCY_WALLCLOCK="$<TARGET_FILE:wallclock>")
add_dependencies(test_faults wallclock)
# One program, two labels: faults-smoke is in the default lane, faults is not (./dev).
foreach(suite FaultsSmoke:faults-smoke Faults:faults)
  string(REPLACE ":" ";" suite ${suite})
  list(GET suite 0 filter)
  list(GET suite 1 label)
  gtest_discover_tests(test_faults TEST_FILTER "${filter}.*" TEST_LIST ${filter}_tests DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS ${label} TIMEOUT 1500)
endforeach()

# docs/reliability.md has the table that the lane wrote.
add_test(NAME Documentation.ReliabilityPageHasEveryRow
         COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -P ${PROJECT_SOURCE_DIR}/cmake/FaultTable.cmake)
set_tests_properties(Documentation.ReliabilityPageHasEveryRow PROPERTIES LABELS unit TIMEOUT 30)
