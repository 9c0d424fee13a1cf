# What the compiler says of wrong signatures, in g++'s words.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_test(NAME Signatures.AWrongOneIsOneReadableError
           COMMAND ${CMAKE_COMMAND} -DCOMPILER=${CMAKE_CXX_COMPILER} -DSOURCE=${PROJECT_SOURCE_DIR}
                   -DWORK=${CMAKE_CURRENT_BINARY_DIR}/wrong -P ${PROJECT_SOURCE_DIR}/cmake/CheckErrors.cmake)
  set_tests_properties(Signatures.AWrongOneIsOneReadableError PROPERTIES LABELS unit TIMEOUT 600)
endif()
