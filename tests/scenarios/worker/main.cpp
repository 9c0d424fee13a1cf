// scenario_worker: the workflows of the scenarios, written as a user writes them: against <romancy/...> alone.
//
// `scenario_worker --replay DIR` tells them the histories in a folder instead, and says what does not fit.
#include <iostream>
#include <romancy/testing.hpp>
#include <string_view>

#include "tests/support/noting_hooks.hpp"
#include "world.hpp"

int main(int argc, char** argv) {
  Program program;
  add_activities(program);
  add_timers(program);
  add_messages(program);
  add_saga(program);
  add_cancel(program);
  add_lifecycle(program);
  add_outbox(program);
  add_determinism(program);
  add_examples(program);
  add_concurrent(program);
  add_channels(program);
  add_generations(program);
  add_transactional(program);
  add_asynchronous(program);
  add_children(program);
  add_reading(program);
  add_queued(program);
  add_versions(program);
  if (argc == 3 && std::string_view(argv[1]) == "--replay") {
    const auto replays = romancy::testing::replay_directory(argv[2], program.workflows, program.activities);
    std::cout << replays.text();
    return replays.ok() ? 0 : 1;
  }
  return romancy::run_worker(argc, argv, program.workflows, program.activities, romancy::test::noting_hooks("SCENARIO_HOOKS"));
}
