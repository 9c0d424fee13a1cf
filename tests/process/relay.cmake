# What tests of the relay deliver to.
add_library(romancy_test_http STATIC ${CMAKE_CURRENT_LIST_DIR}/relay_http_server.cpp)
target_link_libraries(romancy_test_http PUBLIC Threads::Threads)
romancy_test(test_relay_process process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/relay_test.cpp
  LIBS romancy_test_system romancy_test_http)
add_dependencies(test_relay_process romancy-relay romancy-timer romancy-listener)
