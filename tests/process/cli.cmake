romancy_test(test_cli_process process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/cli_test.cpp ${CMAKE_CURRENT_LIST_DIR}/relay_receiver_test.cpp
  LIBS romancy_test_system nlohmann_json::nlohmann_json)
add_dependencies(test_cli_process romancy_cli romancy-supervisor romancy-listener romancy-timer romancy-relay)
if(TARGET orders_receiver)
  add_dependencies(test_cli_process orders_receiver romancy-relay)
endif()
