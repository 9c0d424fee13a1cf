# What tests against PostgreSQL link: a schema of their own, connections driven by hand, the invariants' sampler.
add_library(romancy_test_support STATIC
  ${CMAKE_CURRENT_LIST_DIR}/pg_schema.cpp
  ${CMAKE_CURRENT_LIST_DIR}/pg_step.cpp)
target_link_libraries(romancy_test_support PUBLIC romancy_migrate romancy_pg GTest::gtest PRIVATE PkgConfig::LIBPQ)
