romancy_test(test_cli unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/cli_text_test.cpp ${CMAKE_CURRENT_LIST_DIR}/cli_explain_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/cli_input_test.cpp
  LIBS romancy_cli_core)
