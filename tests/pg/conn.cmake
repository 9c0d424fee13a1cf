romancy_test(test_conn pg
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/conn_test.cpp ${CMAKE_CURRENT_LIST_DIR}/conn_life_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/conn_values_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/conn_hosts_test.cpp ${CMAKE_CURRENT_LIST_DIR}/../support/daemons.cpp
  LIBS romancy_pg)
target_include_directories(test_conn PRIVATE $<TARGET_PROPERTY:PkgConfig::LIBPQ,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_definitions(test_conn PRIVATE ROMANCY_BUILD_DIR="${CMAKE_BINARY_DIR}")
