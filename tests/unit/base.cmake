romancy_test(test_base unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/base_test.cpp LIBS romancy_base)
