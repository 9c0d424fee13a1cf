romancy_test(test_supervisor_units unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/supervisor_test.cpp
  LIBS romancy_supervisor_core)
