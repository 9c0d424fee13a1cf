romancy_test(test_board unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/board_test.cpp LIBS romancy_proc)
