// Reaper: which dead sessions to end, and when to try. Pure: it is told what happened and says what to do.
//
// A worker that died is noticed three ways:
//   gone    the hub saw its socket close. Its database connection closed in the same instant, but the server may need
//           a moment to notice and give up the advisory lock: so an id is tried again after 5, 10, 20 .. ms, until one
//           session time-out has passed; then the ordinary end of its time-out takes over. The lock proves the death:
//           a hub that hung up on a living worker ends nothing.
//   locks   the sweep tries the lock of every session: while there is no hub to tell us, and once after each gap.
//   expiry  nobody heard its heartbeat for a session time-out: its host is gone. Nobody tells of that, so the sweep has to
//           look; but it knows when: the earliest moment at which a session could expire, as the database says after each
//           sweep. While everybody beats that is two thirds of the time-out ahead, and when a host dies it is the very
//           moment. A session that begins after a sweep expires a time-out later, so one sweep in less than that sees it.
//           (Not on the sessions' advisory locks alone: the server of a host that lost its power keeps them until its
//           own keepalives give up, and behind a transaction pooler they mean nothing.)
//
// After a database outage every living worker looks dead (its lock is free, its heartbeat is old) until it has come
// back. So for one session time-out after a reconnect the sweep ends nothing at all, and after the first connect
// nothing that only looks expired. Workers that come back name their former sessions themselves.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace romancy::timer {

class Reaper {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMostTrials = 1024;  // ids on trial; whatever is beyond that the sweep finds
  static constexpr std::chrono::milliseconds kFirstRetry{5};
  static constexpr std::chrono::milliseconds kLongestRetry{500};

  explicit Reaper(std::chrono::milliseconds session_timeout) : session_timeout_(session_timeout) {}

  // `again`: the connection was there before, or was tried in vain: the database may have been away.
  void connected(Time now, bool again);
  void gap() { locks_wanted_ = true; }  // a `gone` may have been missed

  void gone(Time now, std::int64_t session);     // the hub says so: keep trying
  void suspect(Time now, std::int64_t session);  // one of the list: try once
  std::vector<std::int64_t> due(Time now);       // whose trial is due; each must be answered with tried()
  void tried(Time now, std::int64_t session, bool ended);
  [[nodiscard]] std::optional<Time> next_trial() const;

  enum class Sweep {
    nothing,           // too early
    list,              // list the sessions and suspect each: their locks decide
    expired,           // end what has expired
    expired_and_free,  // end what has expired and what holds no lock
  };
  // What the sweep that begins now does. `hub_tells`: a hub is there to report deaths.
  Sweep sweep(Time now, bool hub_tells);
  // After a sweep: in what time the next one at the latest. `expiry`: of the earliest session, from now; none: unknown, or
  // no session. Nothing: sweep_every() is soon enough.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> look_again(Time now,
                                                                  std::optional<std::chrono::microseconds> expiry) const;
  // +-20 % of this is less than a time-out.
  [[nodiscard]] std::chrono::milliseconds sweep_every() const { return session_timeout_ * 4 / 5; }

 private:
  struct Trial {
    Time next{};
    Time give_up{};
    std::chrono::milliseconds wait = kFirstRetry;
    bool under_way = false;
  };
  void put(std::int64_t session, Time now, Time give_up);

  std::chrono::milliseconds session_timeout_;
  Time locks_from_ = Time::max();
  Time expired_from_ = Time::max();
  bool locks_wanted_ = true;
  std::map<std::int64_t, Trial> trials_;
};

}  // namespace romancy::timer
