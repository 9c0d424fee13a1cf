romancy_test(test_relay unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/cloudevent_test.cpp ${CMAKE_CURRENT_LIST_DIR}/relay_delivery_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/relay_ledger_test.cpp ${CMAKE_CURRENT_LIST_DIR}/relay_sink_test.cpp
  LIBS romancy_relay_core romancy_test_http)
