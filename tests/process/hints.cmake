romancy_test(test_hints process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/hints_test.cpp
  LIBS romancy_test_system romancy_listener_core)
add_dependencies(test_hints test_worker romancy-supervisor romancy-listener romancy-timer romancy-relay romancy_cli)
