romancy_test(test_io unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/io_loop_test.cpp ${CMAKE_CURRENT_LIST_DIR}/io_stream_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/io_resolve_test.cpp
  LIBS romancy_io)
target_compile_definitions(test_io PRIVATE $<$<BOOL:${ROMANCY_SANITIZE}>:ROMANCY_SANITIZE>)
