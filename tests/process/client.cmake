# <romancy/client.hpp>, as a program sees it that is no worker.
romancy_test(test_client process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/client_test.cpp
  LIBS romancy_sdk romancy_test_system)
add_dependencies(test_client test_worker romancy-listener romancy-timer)
