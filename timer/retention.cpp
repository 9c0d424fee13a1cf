#include "timer/retention.hpp"

#include <utility>

#include "common/base/log.hpp"

namespace romancy::timer {

using proc::Counter;
using Clock = std::chrono::steady_clock;

Retention::Retention(io::Loop& loop, TimerStore& store, proc::Slot slot, const proc::Config& config, Handlers handlers)
    : store_(store),
      slot_(slot),
      most_(config.retention_batch),
      handlers_(std::move(handlers)),
      plan_({{Kept::completed, config.keep_completed},
             {Kept::failed, config.keep_failed},
             {Kept::cancelled, config.keep_cancelled},
             {Kept::generations, config.keep_archive},
             {Kept::delivered, config.keep_delivered},
             {Kept::undelivered, config.keep_undelivered},
             {Kept::messages, config.keep_messages}},
            config.retention_interval),
      due_(loop, [this] { remove(); }) {}

void Retention::start() {
  started_ = true;
  if (!under_way_ && !plan_.idle()) due_.set_in(std::chrono::milliseconds(0));
}

void Retention::stop() {
  started_ = false;
  due_.cancel();
}

void Retention::remove() {
  under_way_ = true;
  const auto kind = plan_.current();
  store_.remove(kind.what, kind.keep, most_, [this, what = kind.what, sent = Clock::now()](const Result<Removed>& answer) {
    under_way_ = false;
    std::chrono::microseconds wait{};
    if (answer) {
      removed(what, *answer);
      wait = plan_.answered(*answer, std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - sent));
    } else {
      wait = plan_.failed();
    }
    if (plan_.sweep_over()) say();
    if (started_) due_.set_in(std::chrono::ceil<std::chrono::milliseconds>(wait));
    if (!answer) return handlers_.on_error(answer.error());
    handlers_.on_over();
  });
}

void Retention::removed(Kept what, const Removed& removed) {
  const auto count = [&](Counter counter, std::int64_t& sum) {
    slot_.add(counter, static_cast<std::uint64_t>(removed.count));
    sum += removed.count;
  };
  switch (what) {
    case Kept::completed:
    case Kept::failed:
    case Kept::cancelled: return count(Counter::instances_removed, instances_);
    case Kept::generations: return count(Counter::generations_removed, generations_);
    case Kept::delivered:
    case Kept::undelivered: return count(Counter::events_removed, events_);
    case Kept::messages: return count(Counter::messages_removed, messages_);
  }
}

void Retention::say() {
  if (instances_ + generations_ + events_ + messages_ > 0) {
    log::info("retention", {{"instances", instances_},
                            {"generations", generations_},
                            {"events", events_},
                            {"messages", messages_}});
  }
  instances_ = generations_ = events_ = messages_ = 0;
}

}  // namespace romancy::timer
