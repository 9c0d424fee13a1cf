add_executable(supervisor_child ${CMAKE_CURRENT_LIST_DIR}/supervisor_child.cpp)
target_link_libraries(supervisor_child PRIVATE romancy_proc)
romancy_test(test_supervisor process
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/supervisor_test.cpp ${CMAKE_CURRENT_LIST_DIR}/supervisor_process_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/supervisor_change_test.cpp ${CMAKE_CURRENT_LIST_DIR}/supervisor_trouble_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/supervisor_stage.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../support/daemons.cpp
  LIBS romancy_proc)
target_compile_definitions(test_supervisor PRIVATE
  ROMANCY_BUILD_DIR="${CMAKE_BINARY_DIR}" SUPERVISOR_CHILD="$<TARGET_FILE:supervisor_child>"
  SUPERVISOR="$<TARGET_FILE:romancy-supervisor>")
add_dependencies(test_supervisor supervisor_child romancy-supervisor)
