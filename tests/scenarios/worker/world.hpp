// world: what the scenarios' activities act on, and how they wait for a test. A user's program would have its bank here.
//
// The tables effects and gates are in the schema of the test (../mode.cpp); where it is, the environment says.
#pragma once
#include <memory>
#include <romancy/romancy.hpp>
#include <string>
#include <vector>

namespace world {

// Notes that this attempt had an effect.
void effect(const romancy::Attempt& attempt, const std::string& what);
// Whether the test has opened this gate.
bool gate_open(const std::string& name);
// Waits until the gate is open: true; or until the attempt is asked to stop: false.
bool wait_for_gate(const romancy::Attempt& attempt, const std::string& name);
// Waits until it is open, whatever the attempt is asked.
void wait_for_gate_stubbornly(const std::string& name);

}  // namespace world

// What main() registers: each theme adds its own.
struct Program {
  std::vector<romancy::WorkflowRef> workflows;
  std::vector<romancy::ActivityRef> activities;
};
void add_activities(Program& program);
void add_timers(Program& program);
void add_messages(Program& program);
void add_saga(Program& program);
void add_cancel(Program& program);
void add_lifecycle(Program& program);
void add_outbox(Program& program);
void add_determinism(Program& program);
void add_examples(Program& program);
void add_concurrent(Program& program);
void add_channels(Program& program);
void add_generations(Program& program);
void add_transactional(Program& program);
void add_asynchronous(Program& program);
void add_children(Program& program);
void add_reading(Program& program);
void add_queued(Program& program);
void add_versions(Program& program);
