romancy_test(test_restart_policy unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/restart_policy_test.cpp
  LIBS romancy_supervisor_core)
