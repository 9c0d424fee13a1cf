romancy_test(test_timer_process process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/timer_test.cpp ${CMAKE_CURRENT_LIST_DIR}/schedules_test.cpp
  LIBS romancy_test_system)
add_dependencies(test_timer_process romancy-timer romancy-listener)
