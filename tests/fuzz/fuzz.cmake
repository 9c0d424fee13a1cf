# Fuzz targets. Every build replays the corpus through them (Fuzz.Corpus.*). With ROMANCY_FUZZ (clang, the preset `fuzz`, `./dev
# test --fuzz [SECONDS]`) libFuzzer goes on from there for ROMANCY_FUZZ_SECONDS each (Fuzz.Smoke.*); what it
# finds interesting is left in build-fuzz/corpus, what breaks a target beside it.
foreach(target hub_line:romancy_proc config:romancy_proc notification:romancy_listener_core control:romancy_supervisor_core
        http_response:romancy_relay_core)
  string(REPLACE ":" ";" target ${target})
  list(GET target 0 name)
  list(GET target 1 library)
  set(corpus ${CMAKE_CURRENT_LIST_DIR}/corpus/${name})
  add_executable(fuzz_${name}_replay ${CMAKE_CURRENT_LIST_DIR}/${name}.cpp ${CMAKE_CURRENT_LIST_DIR}/replay.cpp)
  target_link_libraries(fuzz_${name}_replay PRIVATE ${library} Threads::Threads)
  add_test(NAME Fuzz.Corpus.${name} COMMAND fuzz_${name}_replay ${corpus})
  set_tests_properties(Fuzz.Corpus.${name} PROPERTIES LABELS unit TIMEOUT 120)
  add_dependencies(unit_tests fuzz_${name}_replay)
  if(ROMANCY_FUZZ)
    add_executable(fuzz_${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.cpp)
    target_link_libraries(fuzz_${name} PRIVATE ${library} Threads::Threads)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    set(grown ${CMAKE_BINARY_DIR}/corpus/${name})
    file(MAKE_DIRECTORY ${grown})
    add_test(NAME Fuzz.Smoke.${name}
      COMMAND sh -c "exec \"$0\" -max_total_time=\${ROMANCY_FUZZ_SECONDS:-30} -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=${CMAKE_BINARY_DIR}/corpus/${name}- ${grown} ${corpus}"
              $<TARGET_FILE:fuzz_${name}>)
    set_tests_properties(Fuzz.Smoke.${name} PROPERTIES LABELS fuzz)
  endif()
endforeach()
