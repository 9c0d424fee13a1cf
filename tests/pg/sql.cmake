# The SQL alone, driven statement by statement: no engine, no daemon.
romancy_test(test_sql pg
  SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/storage.cpp
    ${CMAKE_CURRENT_LIST_DIR}/api_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/await_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/channels_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/children_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/tasks_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/channels_stress_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/holes_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/transactions_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/limits_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/interleavings_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/migrate_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/open_transactions_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/plans_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/queues_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/retention_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/runs_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/schedules_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/sessions_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/support_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/timers_outbox_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/versions_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/views_test.cpp
  LIBS romancy_test_support romancy_cron date::date-tz)
