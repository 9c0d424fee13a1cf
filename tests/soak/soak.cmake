# The soak (tests/soak/soak.hpp): `./dev test --soak 10m`. The default lane runs a smoke of it.
add_executable(soak_worker ${CMAKE_CURRENT_LIST_DIR}/worker.cpp)
target_link_libraries(soak_worker PRIVATE romancy_sdk PkgConfig::LIBPQ)
add_executable(soak_server ${CMAKE_CURRENT_LIST_DIR}/server.cpp)
target_link_libraries(soak_server PRIVATE romancy_pg)
add_library(romancy_soak_program STATIC ${CMAKE_CURRENT_LIST_DIR}/program.cpp)
target_link_libraries(romancy_soak_program PUBLIC romancy_base)

romancy_test(test_soak_program unit
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/program_test.cpp
  LIBS romancy_soak_program)

# The SDK's own library, without the definition by which a user's Json is another type than that of romancy_base.
add_executable(test_soak
  ${CMAKE_CURRENT_LIST_DIR}/chaos.cpp
  ${CMAKE_CURRENT_LIST_DIR}/clients.cpp
  ${CMAKE_CURRENT_LIST_DIR}/soak.cpp
  ${CMAKE_CURRENT_LIST_DIR}/soak_test.cpp
  ${CMAKE_CURRENT_LIST_DIR}/oracle_test.cpp)
target_link_libraries(test_soak PRIVATE romancy_soak_program romancy_sdk_core $<LINK_ONLY:romancy_sdk> romancy_test_site GTest::gmock GTest::gtest GTest::gtest_main)
add_dependencies(test_soak soak_worker soak_server fault_worker romancy-supervisor romancy-listener romancy-timer romancy-relay romancy_cli)
foreach(suite SoakSmoke:soak-smoke Soak:soak SoakOracle:soak)
  string(REPLACE ":" ";" suite ${suite})
  list(GET suite 0 filter)
  list(GET suite 1 label)
  # Two processors: a program and its oracle beside it; ctest starts less meanwhile.
  gtest_discover_tests(test_soak TEST_FILTER "${filter}.*" TEST_LIST ${filter}_tests DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS ${label} PROCESSORS 2 TIMEOUT 7200)
endforeach()
