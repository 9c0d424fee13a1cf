# Scenarios: what a user can do and rely on. Each one is a ctest test in each mode (mode.hpp).
add_executable(scenario_worker
  ${CMAKE_CURRENT_LIST_DIR}/worker/main.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/world.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/activities.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/timers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/messages.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/saga.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/cancel.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/lifecycle.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/outbox.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/determinism.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/examples.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/concurrent.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/channels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/generations.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/transactional.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/asynchronous.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/children.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/reading.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/queued.cpp
  ${CMAKE_CURRENT_LIST_DIR}/worker/versions.cpp)
target_link_libraries(scenario_worker PRIVATE romancy_sdk romancy_testing PkgConfig::LIBPQ)

add_library(romancy_test_scenario STATIC ${CMAKE_CURRENT_LIST_DIR}/mode.cpp ${CMAKE_CURRENT_LIST_DIR}/scenario.cpp)
target_link_libraries(romancy_test_scenario PUBLIC romancy_test_system GTest::gmock)

add_executable(scenario_site ${CMAKE_CURRENT_LIST_DIR}/site.cpp)
target_link_libraries(scenario_site PRIVATE romancy_test_scenario)

# A resident installation a mode: the first scenario of a mode waits for it, the last one ends it.
set(scenario_modes Notified NotifiedReplaying Unnotified UnnotifiedReplaying Polling PollingReplaying)
set(scenario_limit 240)
if(ROMANCY_SANITIZE)
  set(scenario_limit 720)
endif()
foreach(mode IN LISTS scenario_modes)
  add_test(NAME Scenarios.Up.${mode} COMMAND scenario_site up ${mode})
  add_test(NAME Scenarios.Down.${mode} COMMAND scenario_site down ${mode})
  set_tests_properties(Scenarios.Up.${mode} PROPERTIES FIXTURES_SETUP site_${mode})
  set_tests_properties(Scenarios.Down.${mode} PROPERTIES FIXTURES_CLEANUP site_${mode})
  set_tests_properties(Scenarios.Up.${mode} Scenarios.Down.${mode} PROPERTIES LABELS scenarios TIMEOUT ${scenario_limit})
endforeach()

# scenario_program(NAME <source>..): scenarios on the resident installations.
function(scenario_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE romancy_test_scenario GTest::gtest_main)
  add_dependencies(${name} scenario_worker scenario_site romancy-listener romancy-timer romancy_cli)
  foreach(mode IN LISTS scenario_modes)
    gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_FILTER "*/${mode}" NO_PRETTY_VALUES
                         PROPERTIES LABELS scenarios TIMEOUT ${scenario_limit} FIXTURES_REQUIRED site_${mode})
  endforeach()
endfunction()

set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/queued_test.cpp PROPERTIES
  COMPILE_DEFINITIONS ROMANCY_EXAMPLES="${PROJECT_SOURCE_DIR}/examples")
scenario_program(test_scenarios
  ${CMAKE_CURRENT_LIST_DIR}/activities_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/timers_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/schedules_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/messages_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/saga_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/cancel_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/lifecycle_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/outbox_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/examples_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/concurrent_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/channels_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/children_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/reading_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/queued_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/generations_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/transactional_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/asynchronous_test.cpp)

# own_program(NAME LIMIT <source>..): scenarios that start an installation of their own, or need none.
function(own_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE romancy_test_scenario GTest::gtest_main)
  add_dependencies(${name} scenario_worker romancy-listener romancy-timer romancy_cli)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
                       PROPERTIES LABELS scenarios TIMEOUT ${scenario_limit})
endfunction()

# doc_program(NAME PAGE): the C++ of a page, as it stands there.
function(doc_program name page)
  romancy_doc_source(source ${name} ${page})
  add_executable(${name} ${source} ${ARGN})
  target_link_libraries(${name} PRIVATE romancy_sdk)
endfunction()
doc_program(readme_hello README.md)
doc_program(guide_worker docs/workflows.md ${CMAKE_CURRENT_LIST_DIR}/worker/guide_bank.cpp)
doc_program(sdk_guide_worker docs/sdk-guide.md ${CMAKE_CURRENT_LIST_DIR}/worker/sdk_guide_bank.cpp)
doc_program(guide_client docs/client.md)
own_program(test_readme ${CMAKE_CURRENT_LIST_DIR}/readme_test.cpp)
target_compile_definitions(test_readme PRIVATE ROMANCY_README="${PROJECT_SOURCE_DIR}/README.md")
add_dependencies(test_readme readme_hello)

own_program(test_own_scenarios
  ${CMAKE_CURRENT_LIST_DIR}/determinism_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/kills_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/versions_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/sizes_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/holders_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/queues_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/retention_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hooks_test.cpp)

# Every order of words, deaths included: pure, the replay core alone.
add_executable(test_every_order ${CMAKE_CURRENT_LIST_DIR}/every_order_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../support/script.cpp)
target_link_libraries(test_every_order PRIVATE romancy_testing GTest::gmock GTest::gtest GTest::gtest_main)
gtest_discover_tests(test_every_order DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
                     PROPERTIES LABELS scenarios TIMEOUT ${scenario_limit})

# SQL alone.
add_executable(test_storage_scenarios ${CMAKE_CURRENT_LIST_DIR}/storage_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../pg/storage.cpp)
target_link_libraries(test_storage_scenarios PRIVATE romancy_test_support GTest::gmock GTest::gtest GTest::gtest_main)
gtest_discover_tests(test_storage_scenarios DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                     PROPERTIES LABELS scenarios TIMEOUT ${scenario_limit})
