#include "common/proc/sweeper.hpp"

#include <random>
#include <utility>

#include "common/io/alarm.hpp"
#include "common/proc/hub_wire.hpp"

namespace romancy::proc {

struct Sweeper::State : std::enable_shared_from_this<State> {
  State(io::Loop& loop, Intervals intervals, std::function<void(Why)> on_look)
      : plan(intervals, std::random_device{}()), look(std::move(on_look)), alarm(loop, [this] { due(); }) {}

  static SweepPlan::Time now() { return std::chrono::steady_clock::now(); }

  void due() {
    const auto self = shared_from_this();  // `look` may destroy the Sweeper
    armed.reset();
    if (const auto why = plan.begin(now())) look(*why);
    arm();
  }

  // Sets the alarm for what is due next. Also after every request: requests of one turn share one alarm, so a
  // hundred hints read at once make one look.
  void arm() {
    const auto when = dead ? std::nullopt : plan.due();
    if (when == armed) return;
    armed = when;
    if (when) {
      alarm.set_at(*when);
    } else {
      alarm.cancel();
    }
  }

  SweepPlan plan;
  std::function<void(Why)> look;
  std::optional<SweepPlan::Time> armed;  // what the alarm is set to
  bool dead = false;                     // the Sweeper is gone
  io::Alarm alarm;
};

Sweeper::Sweeper(io::Loop& loop, Intervals intervals, std::function<void(Why)> look)
    : state_(std::make_shared<State>(loop, intervals, std::move(look))) {}

Sweeper::~Sweeper() {
  state_->dead = true;
  state_->arm();
}

void Sweeper::start() {
  state_->plan.start(State::now());
  state_->arm();
}

void Sweeper::stop() {
  state_->plan.stop();
  state_->arm();
}

void Sweeper::hint() {
  state_->plan.hint();
  state_->arm();
}

void Sweeper::resync() {
  state_->plan.resync();
  state_->arm();
}

void Sweeper::resync(std::string_view why) {
  if (why != resync_why(ResyncWhy::gap) && why != resync_why(ResyncWhy::listener)) return resync();
  state_->plan.gap(State::now());
  state_->arm();
}

void Sweeper::live(bool heard) {
  state_->plan.live(State::now(), heard);
  state_->arm();
}

void Sweeper::done(bool full) {
  state_->plan.done(State::now(), full);
  state_->arm();
}

void Sweeper::look_in(std::chrono::nanoseconds delay) {
  state_->plan.look_in(State::now(), delay);
  state_->arm();
}

bool Sweeper::looking() const { return state_->plan.looking(); }

}  // namespace romancy::proc
