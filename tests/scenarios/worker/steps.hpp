// steps: activities that several themes use.
#pragma once
#include <romancy/romancy.hpp>
#include <string>

#include "world.hpp"

struct Flaky {
  std::string what;
  int failures = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Flaky, what, failures)

// Leaves an effect and returns its input.
inline const auto mark = romancy::activity("mark", [](romancy::Attempt& at, std::string what) {
  world::effect(at, what);
  return what;
});

// Leaves the effect "undo <what>".
inline const auto undo = romancy::activity("undo", [](romancy::Attempt& at, std::string what) { world::effect(at, "undo " + what); });

// Leaves the effect "held", then waits for the gate of that name; "stopped" if it was asked to stop instead.
inline const auto hold = romancy::activity("hold", [](romancy::Attempt& at, std::string gate) {
  world::effect(at, "held");
  if (!world::wait_for_gate(at, gate)) {
    world::effect(at, "stopped");
    throw std::runtime_error("stopped");
  }
  return gate;
});

// Fails as often as it is told, each time with its effect, then returns the number of the attempt.
inline const auto flaky = romancy::activity(
    "flaky",
    [](romancy::Attempt& at, Flaky job) {
      world::effect(at, job.what);
      if (at.number() <= job.failures) throw std::runtime_error("not yet");
      return at.number();
    },
    {.retry = {.attempts = 4, .first_interval = std::chrono::milliseconds(5)}});
