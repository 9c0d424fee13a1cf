// TimerStore: what the timer asks of the database. SQL in, structs out; one connection, no state.
//
// Every call answers exactly once, on the loop; a lost connection is a try-again error.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/conn.hpp"

namespace romancy::timer {

struct Fired {
  std::string instance_id;
  std::string timer_id;              // "sleep:3"
  std::chrono::microseconds late{};  // from its deadline to the firing transaction, by the database's clock
};

struct Ahead {
  std::optional<std::int64_t> next_us;  // until the earliest deadline; may be negative; none: no timer
  std::int64_t clock_us = 0;            // the database's clock, since 1970
};

// A schedule that is due, as look_at_schedules lists it. Moments: microseconds since 1970, by the database's clock.
struct DueSchedule {
  std::string name;
  std::int64_t version = 0;
  std::optional<std::string> cron;
  std::optional<std::int64_t> every_s;  // one of the two
  std::string time_zone;
  std::int64_t planned_from_us = 0;
  std::optional<std::int64_t> next_tick_us;
  std::int64_t cutoff_us = 0;  // ticks before it are too old
  std::int64_t clock_us = 0;
};
struct SchedulesSeen {
  std::vector<std::string> started;  // instances of queued ticks
  std::vector<DueSchedule> due;
};

// What there is to be said about a due schedule: seconds since 1970.
struct SchedulePlan {
  int missed = 0;
  std::vector<std::int64_t> ticks;
  std::int64_t next = 0;
};

// What became of one tick.
struct Ticked {
  std::string instance_id;
  std::string outcome;  // "started", "queued", "overlapped", "failed"
  std::chrono::microseconds late{};
};

struct Ended {
  std::int64_t session_id = 0;
  std::string worker;
  int freed = 0;  // instances that go on elsewhere
};

// What retention removes, each after a time of its own.
enum class Kept { completed, failed, cancelled, generations, delivered, undelivered, messages };

struct Removed {
  int count = 0;
  bool more = false;                                 // worth asking again at once
  std::optional<std::chrono::microseconds> next_in;  // until the next one is due; may be negative; none: there is none
};

class TimerStore {
 public:
  template <class T>
  using Reply = std::function<void(Result<T>)>;

  explicit TimerStore(pg::Conn& conn) : conn_(conn) {}

  void check_schema(Reply<void> reply);  // refuse: this program must not run on that schema
  void fire(const std::vector<int>& kinds, int limit, Reply<std::vector<Fired>> reply);
  void look_ahead(const std::vector<int>& kinds, Reply<Ahead> reply);
  void look_at_schedules(int limit, Reply<SchedulesSeen> reply);
  void fire_schedule(const DueSchedule& schedule, const SchedulePlan& plan, Reply<std::vector<Ticked>> reply);
  void note_schedule(const DueSchedule& schedule, const std::string& note, Reply<void> reply);
  void next_schedule(Reply<Ahead> reply);
  void list_sessions(Reply<std::vector<std::int64_t>> reply);
  void reap_session(std::int64_t session, Reply<std::optional<int>> reply);  // instances freed; none: not ended
  void reap_sessions(bool try_locks, Reply<std::vector<Ended>> reply);
  void remove(Kept what, std::chrono::milliseconds older, int most, Reply<Removed> reply);
  void next_expiry(Reply<std::optional<std::chrono::microseconds>> reply);  // from the database's now; none: no session

 private:
  pg::Conn& conn_;
};

}  // namespace romancy::timer
