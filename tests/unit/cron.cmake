romancy_test(test_cron unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/cron_test.cpp LIBS romancy_cron date::date-tz)
