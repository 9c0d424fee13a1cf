// scenario_worker: the workflows of the scenarios, written as a user writes them: against <romancy/...> alone.
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
  return romancy::run_worker(argc, argv, program.workflows, program.activities, romancy::test::noting_hooks("SCENARIO_HOOKS"));
}
