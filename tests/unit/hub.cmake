romancy_test(test_hub unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/hub_wire_test.cpp ${CMAKE_CURRENT_LIST_DIR}/hub_queue_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/hub_test.cpp ${CMAKE_CURRENT_LIST_DIR}/hub_client_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/routes_test.cpp ${CMAKE_CURRENT_LIST_DIR}/session_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/diagnosis_test.cpp
  LIBS romancy_listener_core)
romancy_test(test_sweeper unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/sweeper_test.cpp LIBS romancy_proc)
