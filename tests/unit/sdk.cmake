# The replay core, driven by a script in memory.
romancy_test(test_run unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/run_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_cancel_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_children_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_status_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/run_patched_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_queued_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/run_replay_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_crash_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/run_mailbox_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_concurrent_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/run_generation_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_retry_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/run_edges_test.cpp ${CMAKE_CURRENT_LIST_DIR}/run_random_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../support/script.cpp
  LIBS romancy_testing)
# The public headers as a user's program sees them: JSON with diagnostics, over a library built without.
romancy_test(test_sdk unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/sdk_json_test.cpp ${CMAKE_CURRENT_LIST_DIR}/sdk_activity_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/task_test.cpp
  LIBS romancy_sdk_core)
target_compile_definitions(test_sdk PRIVATE JSON_DIAGNOSTICS=1)
# What has threads, in a program of its own: small enough to be built with ThreadSanitizer (./dev test --tsan).
romancy_test(test_activities unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/activity_pool_test.cpp ${CMAKE_CURRENT_LIST_DIR}/async_activity_test.cpp
  LIBS romancy_sdk romancy_io)
# The public helpers for tests of workflows, by themselves; and their page, compiled and run as it stands.
romancy_test(test_testing unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/testing_test.cpp ${CMAKE_CURRENT_LIST_DIR}/testing_replay_test.cpp
  LIBS romancy_testing)
target_compile_definitions(test_testing PRIVATE JSON_DIAGNOSTICS=1)
romancy_doc_source(guide_testing_source guide_testing docs/testing.md)
romancy_test(guide_testing unit SOURCES ${guide_testing_source} LIBS romancy_testing)
target_compile_definitions(guide_testing PRIVATE JSON_DIAGNOSTICS=1)
