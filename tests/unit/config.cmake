romancy_test(test_config unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/config_test.cpp ${CMAKE_CURRENT_LIST_DIR}/config_change_test.cpp LIBS romancy_proc)
