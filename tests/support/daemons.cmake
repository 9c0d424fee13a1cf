# Process tests link this: real programs, a private server, the processes of one installation.
add_library(romancy_test_system STATIC
  ${CMAKE_CURRENT_LIST_DIR}/daemons.cpp ${CMAKE_CURRENT_LIST_DIR}/pooler.cpp
  ${CMAKE_CURRENT_LIST_DIR}/proxy.cpp ${CMAKE_CURRENT_LIST_DIR}/system.cpp)
target_compile_definitions(romancy_test_system PUBLIC ROMANCY_BUILD_DIR="${CMAKE_BINARY_DIR}")
target_link_libraries(romancy_test_system PUBLIC romancy_test_support romancy_pg GTest::gtest PRIVATE romancy_io)

# A whole installation with its supervisor, on a server of its own: the fault matrix and the soak.
add_library(romancy_test_site STATIC ${CMAKE_CURRENT_LIST_DIR}/server.cpp ${CMAKE_CURRENT_LIST_DIR}/site.cpp)
target_link_libraries(romancy_test_site PUBLIC romancy_test_system romancy_test_http)
