// Long sequences of random events into both state machines, with what must hold checked after each step. The seed is printed; set
// ROMANCY_SEED to have the same sequence again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <vector>

#include "listener/session_step.hpp"
#include "supervisor/restart_policy.hpp"

namespace romancy {
namespace {

constexpr int kSequences = 200;
constexpr int kEvents = 2000;

unsigned seed() {
  const char* given = std::getenv("ROMANCY_SEED");
  const unsigned number = given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  std::printf("ROMANCY_SEED=%u\n", number);
  testing::Test::RecordProperty("seed", std::to_string(number));
  return number;
}

template <class T>
T one_of(std::mt19937& random, const std::vector<T>& all) {
  return all[std::uniform_int_distribution<std::size_t>(0, all.size() - 1)(random)];
}

// The world around a session: which events can come, after what it was told to do. Whatever comes of an old connection may come
// late, after it was given up.
struct SessionWorld {
  bool connection = false;  // one exists, up or on its way
  bool up = false;
  bool listened = false;    // LISTEN was sent
  bool proving = false;     // our own notification is under way
  bool due = false;         // an alarm for Due is set
  bool announced = false;

  [[nodiscard]] std::vector<listener::SessionEvent> possible() const {
    using enum listener::SessionEvent;
    std::vector<listener::SessionEvent> events{StartAsked, StopAsked};
    if (connection) events.insert(events.end(), {Down, Down});
    if (connection && !up) events.insert(events.end(), {Up, Up, Up});
    if (up && listened && !proving && !announced) events.insert(events.end(), {Listening, Failed, Overdue});
    if (up && proving) events.insert(events.end(), {Proved, Proved, Proved, Failed, Overdue});
    if (up && listened) events.insert(events.end(), {Hint, Hint});
    if (due) events.insert(events.end(), {Due, Due, Due});
    if (!connection) events.insert(events.end(), {Hint, Proved, Down, Failed, Listening, Up, Overdue});  // late ones
    return events;
  }
};

TEST(RandomEvents, ASessionNeverDoesWhatItsWorldCannotDo) {
  using listener::SessionEffect;
  using listener::SessionEvent;
  using listener::SessionState;
  std::mt19937 random(seed());
  int lives = 0;
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    SessionWorld world;
    SessionState state = SessionState::Stopped;
    for (int i = 0; i < kEvents; ++i) {
      const SessionEvent event = one_of(random, world.possible());
      const auto [to, effect] = listener::step(state, event);
      SCOPED_TRACE("event " + std::to_string(i) + " of sequence " + std::to_string(sequence) + ": " + std::to_string(static_cast<int>(event)) + " in " +
                   std::string(name_of(state)));
      if (event == SessionEvent::Due) world.due = false;
      if (event == SessionEvent::Up && world.connection) world.up = true;
      if (event == SessionEvent::Proved && world.up) world.proving = false;
      switch (effect) {
        case SessionEffect::none: break;
        case SessionEffect::connect:
          ASSERT_FALSE(world.connection) << "a second connection";
          world = {.connection = true};
          break;
        case SessionEffect::listen:
          ASSERT_TRUE(world.up) << "LISTEN without a connection";
          world.listened = true;
          break;
        case SessionEffect::prove:
          ASSERT_TRUE(world.up && world.listened) << "nothing to prove";
          ASSERT_FALSE(world.proving) << "two proofs at once";
          world.proving = true;
          break;
        case SessionEffect::announce:
          ASSERT_TRUE(world.up && world.listened);
          ASSERT_FALSE(world.announced) << "announced twice";
          world.announced = world.due = true;
          ++lives;
          break;
        case SessionEffect::rest:
          ASSERT_TRUE(world.announced);
          world.due = true;
          break;
        case SessionEffect::deliver: ASSERT_TRUE(world.announced) << "a hint before the gap was told of"; break;
        case SessionEffect::give_up:
          ASSERT_TRUE(world.connection) << "nothing to give up";
          world = {.due = true};
          break;
        case SessionEffect::close: world = {}; break;
        case SessionEffect::abort: FAIL() << "cannot happen, and did";
      }
      state = to;
      ASSERT_EQ(state == SessionState::Live, world.announced);
      ASSERT_EQ(state == SessionState::Stopped || state == SessionState::Backoff, !world.connection);
      if (state == SessionState::Backoff) { ASSERT_TRUE(world.due) << "nobody would ever try again"; }
      if (state == SessionState::Live) { ASSERT_TRUE(world.due || world.proving) << "its heart stands still"; }
      if (state == SessionState::Subscribing) { ASSERT_TRUE(world.listened); }
      if (event == SessionEvent::StopAsked) { ASSERT_EQ(state, SessionState::Stopped); }
    }
  }
  EXPECT_GT(lives, kSequences / 2) << "most sequences never came to life";
}

struct ChildWorld {
  bool process = false;
  bool alarm = false;    // for delay_over
  bool wanted = false;   // what the operator asked for last
  [[nodiscard]] std::vector<supervisor::ChildEvent> possible() const {
    using enum supervisor::ChildEvent;
    std::vector<supervisor::ChildEvent> events{start, stop, restart};
    if (process) events.insert(events.end(), {ready, ready, ready, hung, crashed_once, crashed, crashed, refused, spawn_failed});
    if (alarm) events.insert(events.end(), {delay_over, delay_over, delay_over});
    return events;
  }
};

TEST(RandomEvents, AChildIsNeverStartedTwiceAndNeverForgotten) {
  using supervisor::ChildEffect;
  using supervisor::ChildEvent;
  using supervisor::ChildState;
  std::mt19937 random(seed());
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    ChildWorld world;
    ChildState state = ChildState::exited;
    for (int i = 0; i < kEvents; ++i) {
      ChildEvent event = one_of(random, world.possible());
      // A spawn that fails does so at once, before anything else.
      if (event == ChildEvent::spawn_failed && state != ChildState::starting) continue;
      const auto [to, effect] = supervisor::step(state, event);
      SCOPED_TRACE("event " + std::to_string(i) + " of sequence " + std::to_string(sequence) + ": " + std::to_string(static_cast<int>(event)) + " in " +
                   std::string(state_name(state)));
      const bool died = event == ChildEvent::crashed || event == ChildEvent::crashed_once || event == ChildEvent::refused || event == ChildEvent::spawn_failed;
      if (died) world.process = false;
      if (event == ChildEvent::delay_over) world.alarm = false;
      if (event == ChildEvent::start || event == ChildEvent::restart) world.wanted = true;
      if (event == ChildEvent::stop) world.wanted = false;
      switch (effect) {
        case ChildEffect::none: break;
        case ChildEffect::spawn:
          ASSERT_FALSE(world.process) << "started twice";
          ASSERT_TRUE(world.wanted) << "started though nobody wants it";
          world.process = true;
          world.alarm = false;
          break;
        case ChildEffect::wait:
          ASSERT_FALSE(world.process);
          world.alarm = true;
          break;
        case ChildEffect::drain:
        case ChildEffect::terminate: ASSERT_TRUE(world.process) << "there is nobody to tell"; break;
        case ChildEffect::forget: world.alarm = false; break;
        default: break;  // what a later policy adds
      }
      state = to;
      const bool has_process = state == ChildState::starting || state == ChildState::ready || state == ChildState::draining || state == ChildState::restarting;
      ASSERT_EQ(world.process, has_process);
      if (state == ChildState::backoff) { ASSERT_TRUE(world.alarm) << "nobody would ever start it again"; }
      if (state == ChildState::held) { ASSERT_EQ(world.wanted, true); }
      if (world.wanted) { ASSERT_TRUE(state != ChildState::exited && state != ChildState::draining) << "forgotten"; }
      else { ASSERT_TRUE(state == ChildState::exited || state == ChildState::draining) << "not stopped"; }
    }
  }
}

TEST(RandomEvents, ATallyNeverGivesUpAndNeverSpins) {
  using namespace std::chrono_literals;
  std::mt19937 random(seed());
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    supervisor::Tally tally(200ms, 30'000ms, random());
    auto now = supervisor::Tally::Time() + 1h;
    std::vector<supervisor::Tally::Time> deaths;
    for (int i = 0; i < kEvents / 10; ++i) {
      now += std::chrono::milliseconds(std::uniform_int_distribution<int>(0, random() % 10 == 0 ? 120'000 : 3'000)(random));
      if (random() % 50 == 0) {
        tally.forgive();
        deaths.clear();
      }
      std::optional<supervisor::Tally::Time> ready_since;
      if (random() % 2 == 0) ready_since = now - std::chrono::milliseconds(random() % 200'000);
      const auto verdict = tally.died(now, ready_since);
      deaths.push_back(now);
      std::size_t lately = 0;
      for (const auto at : deaths) lately += now - at < supervisor::kWindow ? 1 : 0;
      ASSERT_LE(verdict.delay, 30'000ms) << "the wait has an end";
      if (verdict.at_once) { ASSERT_TRUE(ready_since.has_value()) << "what never worked is not started at once"; }
      if (verdict.at_once) { ASSERT_FALSE(verdict.throttled); }
      // Ready for a minute wipes the record clean, so fewer deaths may count than there were: never more.
      if (verdict.throttled) { ASSERT_GE(lately, supervisor::kMany); }
      if (!verdict.at_once) { ASSERT_GT(verdict.delay, 0ms) << "it would spin"; }
      now += verdict.delay;
    }
  }
}

}  // namespace
}  // namespace romancy
