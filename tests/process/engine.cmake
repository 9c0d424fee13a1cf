add_executable(test_worker ${CMAKE_CURRENT_LIST_DIR}/test_worker.cpp)
target_link_libraries(test_worker PRIVATE romancy_sdk)
romancy_test(test_engine process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/engine_test.cpp
  LIBS romancy_test_system)
add_dependencies(test_engine test_worker romancy-listener romancy-timer)
romancy_test(test_suite process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/suite_test.cpp
  LIBS romancy_test_system)
add_dependencies(test_suite test_worker romancy-supervisor romancy-listener romancy-timer romancy-relay romancy_cli)
