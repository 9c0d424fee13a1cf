# One attempt of a transactional activity: its thread's side, without a loop.
romancy_test(test_run_transaction pg
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/run_transaction_test.cpp ${CMAKE_CURRENT_LIST_DIR}/storage.cpp
  LIBS romancy_sdk romancy_test_system)
