romancy_test(test_listener process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/listener_test.cpp ${CMAKE_CURRENT_LIST_DIR}/listener_network_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/listener_pooler_test.cpp
  LIBS romancy_test_system)
add_dependencies(test_listener romancy-listener romancy-supervisor romancy-timer romancy-relay romancy_cli)
