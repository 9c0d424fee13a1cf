romancy_test(test_timer unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/deadlines_test.cpp ${CMAKE_CURRENT_LIST_DIR}/timer_reaper_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/retention_plan_test.cpp
  LIBS romancy_timer_core)
