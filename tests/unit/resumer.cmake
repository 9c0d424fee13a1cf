romancy_test(test_resumer unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/resumer_test.cpp LIBS romancy_sdk)
