#include "timer/timer_store.hpp"

#include <utility>

#include "common/base/test_point.hpp"
#include "common/pg/migrate.hpp"
#include "sql/all.hpp"
#include "sql/timer.hpp"

namespace romancy::timer {

using pg::Rows;

namespace {

// Turns rows into T with `read`, and hands it on; an error gets to know what was tried.
template <class T, class Read>
pg::Conn::Reply reader(const char* what, TimerStore::Reply<T> reply, Read read) {
  return [what, reply = std::move(reply), read = std::move(read)](Result<Rows> rows) {
    if (!rows) return reply(tl::unexpected(std::move(rows.error()).within(what)));
    reply(read(*rows));
  };
}

std::optional<std::int64_t> maybe_int64(const Rows& rows, int row, int column) {
  return rows.is_null(row, column) ? std::nullopt : std::optional(rows.int64(row, column));
}

Ahead read_ahead(const Rows& rows) {
  return {.next_us = maybe_int64(rows, 0, 0), .clock_us = rows.int64(0, 1)};
}

}  // namespace

void TimerStore::check_schema(Reply<void> reply) {
  conn_.query(sql::all::schema_version, pg::Params{},
              [reply = std::move(reply)](Result<Rows> rows) { reply(pg::judge_schema(rows)); });
}

void TimerStore::fire(const std::vector<int>& kinds, int limit, Reply<std::vector<Fired>> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("timer.fire.before"));
  conn_.query(sql::timer::fire_timers, pg::Params(kinds, limit),
              reader<std::vector<Fired>>("fire_timers", std::move(reply), [](const Rows& rows) {
                if (!rows.empty()) static_cast<void>(ROMANCY_TEST_POINT("timer.fire.after"));
                std::vector<Fired> fired;
                fired.reserve(static_cast<std::size_t>(rows.size()));
                for (int i = 0; i < rows.size(); ++i) {
                  fired.push_back({rows.str(i, 0), rows.str(i, 1), std::chrono::microseconds(rows.int64(i, 2))});
                }
                return fired;
              }));
}

void TimerStore::look_ahead(const std::vector<int>& kinds, Reply<Ahead> reply) {
  conn_.query(sql::timer::look_ahead, pg::Params(kinds),
              reader<Ahead>("look_ahead", std::move(reply), read_ahead));
}

void TimerStore::next_expiry(Reply<std::optional<std::chrono::microseconds>> reply) {
  conn_.query(sql::timer::next_expiry, pg::Params{},
              reader<std::optional<std::chrono::microseconds>>("next_expiry", std::move(reply), [](const Rows& rows) {
                return rows.is_null(0, 0) ? std::nullopt
                                          : std::optional(std::chrono::microseconds(rows.int64(0, 0)));
              }));
}

void TimerStore::remove(Kept what, std::chrono::milliseconds older, int most, Reply<Removed> reply) {
  const auto status = [&] { return what == Kept::failed || what == Kept::undelivered ? 3 : what == Kept::cancelled ? 4 : 2; };
  auto read = reader<Removed>("retention", std::move(reply), [](const Rows& rows) {
    Removed removed{.count = rows.int32(0, 0), .more = rows.boolean(0, 1), .next_in = std::nullopt};
    if (!rows.is_null(0, 2)) removed.next_in = std::chrono::microseconds(rows.int64(0, 2));
    return removed;
  });
  switch (what) {
    case Kept::completed:
    case Kept::failed:
    case Kept::cancelled:
      return conn_.query(sql::timer::remove_finished, pg::Params(status(), older.count(), most), std::move(read));
    case Kept::generations:
      return conn_.query(sql::timer::remove_generations, pg::Params(older.count(), most), std::move(read));
    case Kept::delivered:
    case Kept::undelivered:
      return conn_.query(sql::timer::remove_events, pg::Params(status(), older.count(), most), std::move(read));
    case Kept::messages:
      return conn_.query(sql::timer::remove_messages, pg::Params(older.count(), most), std::move(read));
  }
}

void TimerStore::look_at_schedules(int limit, Reply<SchedulesSeen> reply) {
  conn_.query(sql::timer::look_at_schedules, pg::Params(limit),
              reader<SchedulesSeen>("look_at_schedules", std::move(reply), [](const Rows& rows) {
                SchedulesSeen seen;
                for (int i = 0; i < rows.size(); ++i) {
                  if (!rows.is_null(i, 0)) {
                    seen.started.push_back(rows.str(i, 0));
                    continue;
                  }
                  DueSchedule due;
                  due.name = rows.str(i, 1);
                  due.version = rows.int64(i, 2);
                  if (!rows.is_null(i, 3)) due.cron = rows.str(i, 3);
                  due.every_s = maybe_int64(rows, i, 4);
                  due.time_zone = rows.str(i, 5);
                  due.planned_from_us = rows.int64(i, 6);
                  due.next_tick_us = maybe_int64(rows, i, 7);
                  due.cutoff_us = rows.int64(i, 8);
                  due.clock_us = rows.int64(i, 9);
                  seen.due.push_back(std::move(due));
                }
                return seen;
              }));
}

void TimerStore::fire_schedule(const DueSchedule& schedule, const SchedulePlan& plan,
                               Reply<std::vector<Ticked>> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("timer.schedule.before"));
  std::optional<std::int64_t> expected;
  if (schedule.next_tick_us) expected = *schedule.next_tick_us / 1000000;
  conn_.query(sql::timer::fire_schedule,
              pg::Params(schedule.name, schedule.version, expected, plan.missed, plan.ticks, plan.next),
              reader<std::vector<Ticked>>("fire_schedule", std::move(reply), [](const Rows& rows) {
                if (!rows.empty()) static_cast<void>(ROMANCY_TEST_POINT("timer.schedule.after"));
                std::vector<Ticked> ticked;
                for (int i = 0; i < rows.size(); ++i) {
                  ticked.push_back({rows.str(i, 0), rows.str(i, 1), std::chrono::microseconds(rows.int64(i, 2))});
                }
                return ticked;
              }));
}

void TimerStore::note_schedule(const DueSchedule& schedule, const std::string& note, Reply<void> reply) {
  conn_.query(sql::timer::note_schedule, pg::Params(schedule.name, schedule.version, note),
              [reply = std::move(reply)](Result<Rows> rows) {
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("note_schedule")));
                reply({});
              });
}

void TimerStore::next_schedule(Reply<Ahead> reply) {
  conn_.query(sql::timer::next_schedule, pg::Params{},
              reader<Ahead>("next_schedule", std::move(reply), read_ahead));
}

void TimerStore::list_sessions(Reply<std::vector<std::int64_t>> reply) {
  conn_.query(sql::timer::list_sessions, pg::Params{},
              reader<std::vector<std::int64_t>>("list_sessions", std::move(reply), [](const Rows& rows) {
                std::vector<std::int64_t> sessions;
                for (int i = 0; i < rows.size(); ++i) sessions.push_back(rows.int64(i, 0));
                return sessions;
              }));
}

void TimerStore::reap_session(std::int64_t session, Reply<std::optional<int>> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("timer.reap.before"));
  conn_.query(sql::timer::reap_session, pg::Params(session),
              reader<std::optional<int>>("reap_session", std::move(reply), [](const Rows& rows) {
                if (!rows.is_null(0, 0)) static_cast<void>(ROMANCY_TEST_POINT("timer.reap.after"));
                return rows.is_null(0, 0) ? std::optional<int>() : std::optional<int>(rows.int32(0, 0));
              }));
}

void TimerStore::reap_sessions(bool try_locks, Reply<std::vector<Ended>> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("timer.reap.before"));
  conn_.query(sql::timer::reap_sessions, pg::Params(try_locks),
              reader<std::vector<Ended>>("reap_sessions", std::move(reply), [](const Rows& rows) {
                if (!rows.empty()) static_cast<void>(ROMANCY_TEST_POINT("timer.reap.after"));
                std::vector<Ended> ended;
                for (int i = 0; i < rows.size(); ++i) {
                  ended.push_back({rows.int64(i, 0), rows.str(i, 1), rows.int32(i, 2)});
                }
                return ended;
              }));
}

}  // namespace romancy::timer
