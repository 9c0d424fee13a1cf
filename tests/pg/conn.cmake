romancy_test(test_conn pg
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/conn_test.cpp ${CMAKE_CURRENT_LIST_DIR}/conn_life_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/conn_values_test.cpp
  LIBS romancy_pg)
