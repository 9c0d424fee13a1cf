add_executable(test_activity_worker ${CMAKE_CURRENT_LIST_DIR}/activity_worker.cpp)
target_link_libraries(test_activity_worker PRIVATE romancy_sdk)
romancy_test(test_activity_engine process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/activity_test.cpp
  LIBS romancy_test_system)
add_dependencies(test_activity_engine test_activity_worker romancy-listener romancy-timer)
