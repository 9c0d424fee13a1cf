romancy_test(test_listener process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/listener_test.cpp ${CMAKE_CURRENT_LIST_DIR}/listener_network_test.cpp
  LIBS romancy_test_system)
add_dependencies(test_listener romancy-listener)
