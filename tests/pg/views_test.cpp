// The numbers in the tables are those of resumer/events.hpp, and the views say their names.
#include <gtest/gtest.h>

#include "resumer/events.hpp"
#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using resumer::HistoryKind;
using resumer::InboxKind;
using resumer::Status;
using resumer::TimerKind;

// Without a default: the compiler names an enumerator that was forgotten here.
const char* name(HistoryKind kind) {
  switch (kind) {
    case HistoryKind::started: return "started";
    case HistoryKind::activity_completed: return "activity_completed";
    case HistoryKind::activity_failed: return "activity_failed";
    case HistoryKind::activity_retry: return "activity_retry";
    case HistoryKind::timer_started: return "timer_started";
    case HistoryKind::timer_fired: return "timer_fired";
    case HistoryKind::wait_started: return "wait_started";
    case HistoryKind::message_received: return "message_received";
    case HistoryKind::wait_timed_out: return "wait_timed_out";
    case HistoryKind::subscribed: return "subscribed";
    case HistoryKind::unsubscribed: return "unsubscribed";
    case HistoryKind::published: return "published";
    case HistoryKind::event_sent: return "event_sent";
    case HistoryKind::side_effect: return "side_effect";
    case HistoryKind::cancel_requested: return "cancel_requested";
    case HistoryKind::completed: return "completed";
    case HistoryKind::failed: return "failed";
    case HistoryKind::cancelled: return "cancelled";
    case HistoryKind::recurred: return "recurred";
    case HistoryKind::joined: return "joined";
    case HistoryKind::left: return "left";
    case HistoryKind::subscription_refused: return "subscription_refused";
    case HistoryKind::compensation_decided: return "compensation_decided";
    case HistoryKind::child_started: return "child_started";
    case HistoryKind::child_completed: return "child_completed";
    case HistoryKind::child_failed: return "child_failed";
    case HistoryKind::start_sent: return "start_sent";
    case HistoryKind::cancel_sent: return "cancel_sent";
    case HistoryKind::patched: return "patched";
    case HistoryKind::activity_queued: return "activity_queued";
  }
  return "";
}

const char* name(Status status) {
  switch (status) {
    case Status::running: return "running";
    case Status::completed: return "completed";
    case Status::failed: return "failed";
    case Status::cancelled: return "cancelled";
    case Status::stuck: return "stuck";
    case Status::compensating: return "compensating";
  }
  return "";
}

const char* name(TimerKind kind) {
  switch (kind) {
    case TimerKind::sleep: return "sleep";
    case TimerKind::timeout: return "timeout";
    case TimerKind::retry: return "retry";
    case TimerKind::start_at: return "start_at";
    case TimerKind::expiry: return "expiry";
  }
  return "";
}

// The names a switch knows, from 1 up to the first number it does not, one a line.
template <class Enum>
std::string names() {
  std::string all;
  for (int number = 1; *name(static_cast<Enum>(number)) != '\0'; ++number)
    all += (number > 1 ? "\n" : "") + std::to_string(number) + "|" + name(static_cast<Enum>(number));
  return all;
}

class Views : public Storage {};

TEST_F(Views, NameHistoryKindsAsTheEngineDoes) {
  a.run("INSERT INTO history (instance_id, seq, op, kind) SELECT 'i', n, 0, n FROM generate_series(1, 99) n");
  EXPECT_EQ(a.run("SELECT seq, kind FROM workflow_history WHERE kind IS NOT NULL ORDER BY seq"), names<HistoryKind>());
}

TEST_F(Views, NameStatusesAsTheEngineDoes) {
  a.run("INSERT INTO instances (instance_id, route_id, lane, status) "
        "SELECT lpad(n::text, 2, '0'), 1, '5', n FROM generate_series(1, 99) n");
  EXPECT_EQ(a.run("SELECT instance_id::int, status FROM workflow_instances WHERE status IS NOT NULL ORDER BY 1"),
            names<Status>());
}

TEST_F(Views, NameTimersAsTheEngineDoes) {
  a.run("INSERT INTO deadlines (instance_id, op, kind, expires_at) "
        "SELECT 'i', n, n, now() FROM generate_series(1, 99) n");
  EXPECT_EQ(a.run("SELECT split_part(timer_id, ':', 2)::int, kind FROM timers WHERE kind IS NOT NULL ORDER BY 1"),
            names<TimerKind>());
  EXPECT_EQ(a.run("SELECT count(*) FROM timers WHERE timer_id <> kind || ':' || split_part(timer_id, ':', 2)"), "0");
  EXPECT_EQ(a.run("SELECT count(*) FROM deadlines d JOIN timers t ON t.timer_id = timer_id(d.kind, d.op)"), "5");
}

TEST_F(Views, InboxKindsAreThoseOfTheEngine) {
  const auto kind = [](InboxKind k) { return std::to_string(static_cast<int>(k)); };
  const auto last = [this] { return a.run("DELETE FROM inbox RETURNING kind"); };
  a.run(start_session(1));
  a.run(start("i1"));
  a.run(claim(1));
  EXPECT_EQ(last(), kind(InboxKind::start));
  a.run(tell("i1"));
  EXPECT_EQ(last(), kind(InboxKind::message));
  const std::pair<TimerKind, InboxKind> timers[] = {{TimerKind::sleep, InboxKind::timer},
                                                    {TimerKind::timeout, InboxKind::timeout},
                                                    {TimerKind::retry, InboxKind::retry},
                                                    {TimerKind::start_at, InboxKind::start},
                                                    {TimerKind::expiry, InboxKind::expired}};
  for (const auto& [timer, fired] : timers) {
    const std::string number = std::to_string(static_cast<int>(timer));
    a.run("INSERT INTO deadlines (instance_id, op, kind, expires_at) VALUES ('i1', 1, " + number + ", now())");
    a.run("SELECT * FROM fire_timers('{" + number + "}', 1)");
    EXPECT_EQ(last(), kind(fired));
  }
  a.run("SELECT cancel_workflow('i1')");
  EXPECT_EQ(last(), kind(InboxKind::cancel));
  a.run("SELECT end_session(1, true, false)");
  EXPECT_EQ(last(), kind(InboxKind::recover));
}

TEST_F(Views, FinalStatusesAreThoseOfTheEngine) {
  for (int number = 1; *name(static_cast<Status>(number)) != '\0'; ++number) {
    const std::string id = "i" + std::to_string(number);
    a.run("DELETE FROM sessions; SELECT pg_advisory_unlock_all()");
    leased(id);
    a.run(commit(1, {{.id = id, .status = number}}));
    EXPECT_EQ(a.run("SELECT finished_at IS NOT NULL FROM workflow_instances WHERE instance_id = '" + id + "'"),
              is_final(static_cast<Status>(number)) ? "t" : "f");
  }
}

TEST_F(Views, ShowInputOutputAndErrorOfAnInstance) {
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '{\"in\": 1}', 'i1'), start_workflow('w', '{\"in\": 2}', 'i2')");
  const std::string view =
      "SELECT instance_id, status, input, output, error, worker FROM workflow_instances ORDER BY 1";
  EXPECT_EQ(c.run(view), "i1|running|{\"in\": 1}|||\ni2|running|{\"in\": 2}|||");
  a.run(claim(1));
  a.run(commit(1, {{.id = "i1", .status = 2, .history = {{1, 0, 1, "", "{\"in\": 1}"}, {2, 0, 16, "", "\"out\""}}},
                   {.id = "i2", .release = false, .history = {{1, 0, 1, "", "{\"in\": 2}"}}, .consumed = {2}}}));
  EXPECT_EQ(c.run(view), "i1|completed|{\"in\": 1}|\"out\"||\ni2|running|{\"in\": 2}|||worker");
  EXPECT_EQ(c.run("SELECT worker, kind, workflows, leases FROM workers"), "worker|resumer|{default/w}|1");
  a.run(commit(1, {{.id = "i2", .status = 3, .history = {{2, 0, 17, "", "{\"type\": \"E\"}"}}}}));
  EXPECT_EQ(c.run("SELECT * FROM workflow_result('i2')"), "failed||{\"type\": \"E\"}");
}

TEST_F(Views, CountInstancesByWhatBecomesOfThem) {
  const std::string view = "SELECT active, held, ready, waiting, stuck, completed, failed, cancelled FROM workflow_statistics";
  EXPECT_EQ(c.run(view), "");
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '1', x) FROM unnest('{i1,i2,i3,i4,i5,i6}'::text[]) x");
  EXPECT_EQ(c.run(view), "6|0|6|0|0|0|0|0");
  a.run(claim(1));
  EXPECT_EQ(c.run(view), "6|6|0|0|0|0|0|0");
  const auto ends = [](const std::string& id, int status) { return Did{.id = id, .status = status, .history = {{1, 0, 1, "", "1"}}}; };
  a.run(commit(1, {ends("i1", 2), ends("i2", 3), ends("i3", 4), ends("i4", 5), {.id = "i5", .consumed = {5}}, {.id = "i6", .release = false}}));
  EXPECT_EQ(c.run(view), "3|1|0|1|1|1|1|1");
  c.run("SELECT publish('c', '1', target_instance_id => 'i5')");
  c.run("SELECT start_workflow('x', queue => 'q')");
  EXPECT_EQ(c.run("SELECT queue, workflow_name, ready, waiting FROM workflow_statistics ORDER BY 2"), "default|w|1|0\nq|x|1|0");
}

}  // namespace
}  // namespace romancy::test
