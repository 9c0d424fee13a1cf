romancy_test(test_listener process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/listener_test.cpp ${CMAKE_CURRENT_LIST_DIR}/listener_proxy.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../support/daemons.cpp
  LIBS romancy_pg)
target_compile_definitions(test_listener PRIVATE ROMANCY_BUILD_DIR="${CMAKE_BINARY_DIR}")
add_dependencies(test_listener romancy-listener)
