// Schedules: what may be made, who sees to a tick when several timers and applications are at it, and what the overlap says.
#include <date/tz.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/cron/cron.hpp"
#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::int64_t kTick = 1767323040;  // 2026-01-02T03:04:00Z
const std::string kFar = "4102444800";      // 2100

class Schedules : public Storage {
 protected:
  // A schedule of every minute whose first unseen tick is kTick.
  void schedule(const std::string& name = "s", const std::string& more = "") {
    c.run("SELECT create_schedule('" + name + "', 'w', every => '1 minute'" + (more.empty() ? "" : ", " + more) + ")");
    c.run("UPDATE schedules SET next_tick = to_timestamp(" + std::to_string(kTick) +
          "), due_at = to_timestamp(" + std::to_string(kTick) + ") WHERE name = '" + name + "'");
  }
  std::string version(const std::string& name = "s") {
    return c.run("SELECT version FROM schedules WHERE name = '" + name + "'");
  }
  // The nth tick after kTick is expected and there, the one after it is next.
  static std::string fire(const std::string& version, int n = 0, const std::string& name = "s") {
    const std::int64_t tick = kTick + 60 * n;
    return "SELECT instance_id, outcome FROM fire_schedule('" + name + "', " + version + ", " + std::to_string(tick) + ", 0, '{" +
           std::to_string(tick) + "}', " + std::to_string(tick + 60) + ")";
  }
  std::string instances() { return c.run("SELECT instance_id FROM instances ORDER BY 1"); }
  std::string counters(const std::string& name = "s") {
    return c.run("SELECT started, overlapped, missed FROM schedules WHERE name = '" + name + "'");
  }
  // Session 1 leases what was started, and has not committed its end yet.
  std::string end_of(const std::string& id) {
    if (counts({"sessions"}) == "0") a.run(start_session(1));
    const std::string first = a.run(claim(1, "inbox -> 0 -> 0"));
    return commit(1, {{.id = id, .status = 2, .history = {{1, 0, 1, "", "{}"}, {2, 0, 16, "", "1"}}, .consumed = {std::stoll(first)}}});
  }
};

const std::string kFirst = "s@2026-01-02T03:04:00Z", kSecond = "s@2026-01-02T03:05:00Z", kThird = "s@2026-01-02T03:06:00Z";

TEST_F(Schedules, AreMadeOnceChangedByNameAndRemoved) {
  const std::string make = "SELECT create_schedule('s', 'w', '0 3 * * *', time_zone => 'Europe/Berlin')";
  EXPECT_EQ(c.run(make), "created");
  const std::string first = version();
  EXPECT_EQ(c.run(make), "unchanged");
  EXPECT_EQ(version(), first);
  EXPECT_EQ(c.run("SELECT create_schedule('s', 'w', '0 4 * * *', time_zone => 'Europe/Berlin', input => '7')"), "replaced");
  EXPECT_NE(version(), first);
  EXPECT_EQ(c.run("SELECT cron, input, queue, overlap, catch_up, jitter, paused, next_tick, last_status FROM workflow_schedules"),
            "0 4 * * *|7|default|skip|01:00:00|00:00:00|f||");
  EXPECT_EQ(c.run("SELECT remove_schedule('s'), remove_schedule('s')"), "t|f");
  EXPECT_EQ(counts({"schedules"}), "0");
}

TEST_F(Schedules, WhatIsWrongIsRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"'s', 'w'", "22023 cron, every: one of them must be given, and not both"},
      {"'s', 'w', '@daily', '1 hour'", "22023 cron, every: one of them must be given, and not both"},
      {"NULL, 'w', '@daily'", "22023 name: must not be NULL"},
      {"repeat('x', 201), 'w', '@daily'", "22023 name: is 201 bytes long, at most 200 are allowed"},
      {"'s', '', '@daily'", "22023 workflow_name: must not be empty"},
      {"'s', 'w', '0 24 * * *'", "22023 cron: hour '24': must be from 0 to 23"},
      {"'s', 'w', ''", "22023 cron: must not be empty"},
      {"'s', 'w', '@daily', time_zone => 'Europe/Nowhere'", "22023 time_zone: there is no 'Europe/Nowhere'"},
      {"'s', 'w', '@daily', time_zone => 'EST+5'", "22023 time_zone: there is no 'EST+5'"},
      {"'s', 'w', '@daily', time_zone => 'localtime'", "22023 time_zone: there is no 'localtime'"},
      {"'s', 'w', every => '0'", "22023 every: must be from 00:00:01 to 366 days"},
      {"'s', 'w', every => '1500 ms'", "22023 every: must be whole seconds"},
      {"'s', 'w', every => '1 month'", "22023 every: months have no fixed length"},
      {"'s', 'w', every => '1 minute', jitter => '2 minutes'", "22023 jitter: must be from 00:00:00 to 00:01:00"},
      {"'s', 'w', '@daily', jitter => NULL", "22023 jitter: must not be NULL"},
      {"'s', 'w', '@daily', catch_up => '1 second'", "22023 catch_up: must be from 00:00:10 to 366 days"},
      {"'s', 'w', '@daily', overlap => 'maybe'", "22023 overlap: must be skip, allow, cancel_other or queue_one"},
      {"'s', 'w', '@daily', input => NULL", "22023 input: must not be NULL"},
      {"'s', 'w', '@daily', queue => ''", "22023 queue: must not be empty"}};
  for (const auto& [arguments, why] : cases) {
    EXPECT_THAT(c.error("SELECT create_schedule(" + arguments + ")"), StartsWith(why));
  }
  for (const std::string function : {"pause_schedule", "resume_schedule", "trigger_schedule"}) {
    EXPECT_EQ(c.error("SELECT " + function + "('s')"), "22023 name: there is no schedule 's'");
  }
  EXPECT_EQ(counts({"schedules"}), "0");
}

// Both readers of crons, over what is written right, wrong, and at random.
TEST_F(Schedules, TheDatabaseReadsACronAsTimersDo) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same in every run
  const auto pick = [&](const std::vector<std::string>& texts) {
    return texts[std::uniform_int_distribution<std::size_t>(0, texts.size() - 1)(random)];
  };
  const std::vector<std::string> values{"*", "*", "*", "0", "1", "7", "8", "12", "13", "23", "24", "31", "32", "59", "60", "jan", "FEB", "sun", "sat"};
  std::vector<std::string> crons{"@daily", "@Yearly", "@reboot", "@", "* * * *", " 1  2 3 4 5 ", "0 0 30 2 *", "0 0 30 2 1",
                                 "0 0 30 2 */2", "0 0 31 4,6 *", "@daily *", "* * * * @daily", "1.5 * * * *", "+1 * * * *"};
  for (int n = 0; n < 3000; ++n) {
    std::string cron;
    for (int field = 0; field < 5; ++field) {
      std::string text = pick(values);
      while (random() % 4 == 0) text += pick({",", "-", "/", "/", "-", "--", ""}) + pick(values);
      cron += (field == 0 ? "" : " ") + text;
    }
    crons.push_back(cron);
  }
  c.run("CREATE FUNCTION reads(cron text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM check_cron(cron); RETURN ''; "
        "EXCEPTION WHEN invalid_parameter_value THEN RETURN SQLERRM; END $$");
  const auto what = [](const std::string& why) { return why.substr(0, why.rfind("': ")); };  // field and item, not the reason
  int good = 0;
  for (const std::string& cron : crons) {
    const auto read = cron::parse(cron);
    good += read ? 1 : 0;
    EXPECT_EQ(what(c.run("SELECT reads('" + cron + "')")), what(read ? "" : read.error().text)) << cron;
  }
  EXPECT_GT(good, 30);
}

TEST_F(Schedules, EveryZoneOfTheDatabaseIsKnownToTimers) {
  const std::string names = c.run("SELECT name FROM pg_timezone_names WHERE name !~ '^posix' AND name NOT IN ('localtime', 'Factory')");
  std::istringstream lines(names);
  int known = 0;
  for (std::string name; std::getline(lines, name); ++known) EXPECT_TRUE(cron::Ticks::of_cron("@daily", name)) << name;
  EXPECT_GT(known, 400);
}

TEST_F(Schedules, TimersAreTold) {
  c.run("LISTEN " + schema.name() + "_timer_expired");
  c.run("SELECT create_schedule('s', 'w', '@daily')");
  c.run("SELECT pause_schedule('s')");
  c.run("SELECT resume_schedule('s')");
  const auto heard = c.notifications();
  ASSERT_EQ(heard.size(), 2u);
  EXPECT_EQ(heard[0].second, R"({"schedule": "s", "timer_id": "schedule:0"})");
}

TEST_F(Schedules, AreListedWhenTheyAreDueAndNotBefore) {
  c.run("SELECT create_schedule('new', 'w', '@daily', time_zone => 'Asia/Kolkata')");
  schedule("due", "catch_up => '10 seconds'");
  schedule("later");
  schedule("paused");
  c.run("UPDATE schedules SET next_tick = now() + '1 hour', due_at = now() + '1 hour' WHERE name = 'later'");
  c.run("SELECT pause_schedule('paused')");
  EXPECT_EQ(a.run("SELECT name, cron, every_s, time_zone, next_tick_us, clock_us - cutoff_us FROM look_at_schedules(10) ORDER BY 1"),
            "due||60|UTC|" + std::to_string(kTick) + "000000|10000000\nnew|@daily||Asia/Kolkata||3600000000");
  EXPECT_EQ(a.run("SELECT next_schedule() < 0"), "t");
  c.run("DELETE FROM schedules WHERE name IN ('due', 'new')");
  EXPECT_EQ(a.run("SELECT next_schedule() BETWEEN 3500000000 AND 3600000000"), "t");
  c.run("DELETE FROM schedules WHERE name = 'later'");
  EXPECT_EQ(a.run("SELECT next_schedule()"), "");
}

TEST_F(Schedules, ATickIsSeenToOnce) {
  schedule("s", "input => '[1]'");
  EXPECT_EQ(a.run(fire(version())), kFirst + "|started");
  EXPECT_EQ(b.run(fire(version())), "");
  EXPECT_EQ(instances(), kFirst);
  EXPECT_EQ(c.run("SELECT kind, data FROM inbox"), "1|[1]");
  EXPECT_EQ(counts({"pokes"}), "1");
  EXPECT_EQ(c.run("SELECT extract(epoch FROM next_tick - last_tick), last_instance_id, last_status FROM workflow_schedules"),
            "60.000000|" + kFirst + "|running");
}

TEST_F(Schedules, OfTwoTimersAtOnceOneSeesToIt) {
  schedule();
  const std::string v = version();
  a.run("BEGIN");
  EXPECT_EQ(a.run(fire(v)), kFirst + "|started");
  EXPECT_EQ(b.run(fire(v)), "");  // and does not wait
  EXPECT_EQ(b.run("SELECT next_schedule() < 0"), "t");
  a.run("COMMIT");
  EXPECT_EQ(b.run(fire(v)), "");
  EXPECT_EQ(b.run(fire(v, 1)), kSecond + "|overlapped");
  EXPECT_EQ(counters(), "1|1|0");
}

TEST_F(Schedules, ATimerThatDiesBeforeItsCommitHasDoneNothing) {
  schedule();
  const std::string v = version();
  a.run("BEGIN");
  a.run(fire(v));
  a.disconnect();
  b.wait_until("SELECT pg_try_advisory_xact_lock(1) AND EXISTS (SELECT FROM schedules FOR UPDATE SKIP LOCKED)");
  EXPECT_EQ(b.run(fire(v)), kFirst + "|started");
}

TEST_F(Schedules, ATickIsNotSeenToBeforeItIsDue) {
  schedule();
  c.run("UPDATE schedules SET due_at = now() + '1 hour'");
  EXPECT_EQ(a.run(fire(version())), "");
  EXPECT_EQ(instances(), "");
}

TEST_F(Schedules, WhatAnOpenTransactionHasInHandIsLeftAloneAndSeenToAfterwards) {
  for (const std::string change : {"SELECT pause_schedule('s')", "SELECT remove_schedule('s')",
                                   "SELECT create_schedule('s', 'w', every => '1 hour')"}) {
    SCOPED_TRACE(change);
    schedule();
    const std::string v = version();
    b.run("BEGIN");
    b.run(change);
    EXPECT_EQ(a.run(fire(v)), "");
    b.run("ROLLBACK");
    EXPECT_EQ(a.run(fire(v)), kFirst + "|started");

    b.run("BEGIN");
    b.run(change);
    EXPECT_EQ(a.run(fire(v, 1)), "");
    b.run("COMMIT");
    EXPECT_EQ(a.run(fire(v, 1)), "");
    EXPECT_EQ(instances(), kFirst);
    c.run("DELETE FROM schedules; DELETE FROM instances; DELETE FROM inbox; DELETE FROM pokes");
  }
}

TEST_F(Schedules, AChangeWaitsForATimerAndGoesOnFromTheTickItSawTo) {
  schedule();
  a.run("BEGIN");
  a.run(fire(version()));
  b.send("SELECT create_schedule('s', 'w', every => '1 hour')");
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "replaced");
  EXPECT_EQ(c.run("SELECT started, next_tick, planned_from > last_tick FROM schedules"), "1||t");
}

TEST_F(Schedules, AScheduleMadeAnewDoesNotStartItsTicksTwice) {
  schedule();
  a.run(fire(version()));
  c.run("SELECT remove_schedule('s')");
  const std::string old = "1";
  schedule("s", "overlap => 'allow'");
  EXPECT_EQ(a.run(fire(old)), "");  // the former version's
  EXPECT_EQ(a.run(fire(version())), kFirst + "|started");
  EXPECT_EQ(instances(), kFirst);
  EXPECT_EQ(counts({"inbox"}), "1");
}

TEST_F(Schedules, AnIdThatAnOpenTransactionStartsIsTriedAgain) {
  schedule();
  b.run("BEGIN");
  b.run(start(kFirst));
  EXPECT_EQ(a.run(fire(version())), "");
  EXPECT_EQ(a.run("SHOW lock_timeout"), "0");
  EXPECT_EQ(counters(), "0|0|0");
  b.run("ROLLBACK");
  EXPECT_EQ(a.run(fire(version())), kFirst + "|started");
}

TEST_F(Schedules, ABatchOfTicksIsStartedInOrderAndTheMissedAreCounted) {
  schedule("s", "overlap => 'allow'");
  EXPECT_EQ(a.run("SELECT instance_id, outcome FROM fire_schedule('s', " + version() + ", " + std::to_string(kTick) +
                  ", 5, '{1767323040,1767323100,1767323160}', " + kFar + ")"),
            kFirst + "|started\n" + kSecond + "|started\n" + kThird + "|started");
  EXPECT_EQ(counters(), "3|0|5");
  EXPECT_EQ(a.run("SELECT next_schedule() > 0"), "t");
}

TEST_F(Schedules, JitterIsTheSameForATickAndWithinItsLength) {
  EXPECT_EQ(c.run("SELECT count(DISTINCT d), min(d) >= '0', max(d) < '1 minute', min(d) < '10 s', max(d) > '50 s' FROM "
                  "(SELECT tick_delay('s', to_timestamp(n * 60), '1 minute') AS d FROM generate_series(1, 100) n) x"),
            "100|t|t|t|t");
  EXPECT_EQ(c.run("SELECT tick_delay('s', '2026-01-02T03:04:00Z', '1 minute')"), "00:00:37.854108");
  // A tick of the batch whose own moment has not come stays the next one.
  schedule("s", "overlap => 'allow', jitter => '1 minute'");
  const std::string now = c.run("SELECT extract(epoch FROM date_trunc('second', clock_timestamp() + '59 seconds'))::bigint");
  a.run("SELECT * FROM fire_schedule('s', " + version() + ", " + std::to_string(kTick) + ", 0, '{1767323040," + now + "}', " + kFar + ")");
  EXPECT_EQ(c.run("SELECT started, extract(epoch FROM next_tick)::bigint, due_at > clock_timestamp() FROM schedules"), "1|" + now + "|t");
}

TEST_F(Schedules, SkipSkipsWhileTheInstanceOfTheLastTickIsActive) {
  schedule();
  a.run(fire(version()));
  EXPECT_EQ(b.run(fire(version(), 1)), kSecond + "|overlapped");
  a.run(end_of(kFirst));
  EXPECT_EQ(b.run(fire(version(), 2)), kThird + "|started");
  EXPECT_EQ(counters(), "2|1|0");
}

TEST_F(Schedules, AllowStartsBesideIt) {
  schedule("s", "overlap => 'allow'");
  a.run(fire(version()));
  EXPECT_EQ(b.run(fire(version(), 1)), kSecond + "|started");
}

TEST_F(Schedules, CancelOtherCancelsItAndStarts) {
  schedule("s", "overlap => 'cancel_other'");
  a.run(fire(version()));
  EXPECT_EQ(b.run(fire(version(), 1)), kSecond + "|started");
  EXPECT_EQ(c.run("SELECT instance_id, data FROM inbox WHERE kind = 6"),
            kFirst + R"(|{"reason": "the next tick of schedule s has come"})");
}

TEST_F(Schedules, QueueOneQueuesOneAndStartsItWhenTheOtherHasEnded) {
  schedule("s", "overlap => 'queue_one'");
  a.run(fire(version()));
  EXPECT_EQ(b.run(fire(version(), 1)), kSecond + "|queued");
  EXPECT_EQ(b.run(fire(version(), 2)), kThird + "|overlapped");
  EXPECT_EQ(b.run("SELECT started FROM look_at_schedules(10) WHERE started > ''"), "");
  c.run("UPDATE schedules SET due_at = now() + '1 hour'");
  EXPECT_EQ(b.run("SELECT next_schedule() > 0"), "t");
  c.run("LISTEN " + schema.name() + "_timer_expired");
  a.run(end_of(kFirst));
  EXPECT_EQ(c.notifications().size(), 1u);
  EXPECT_EQ(b.run("SELECT next_schedule()"), "0");
  EXPECT_EQ(b.run("SELECT started FROM look_at_schedules(10)"), kSecond);
  EXPECT_EQ(b.run("SELECT started FROM look_at_schedules(10)"), "");
  EXPECT_EQ(counters(), "2|1|0");
  EXPECT_EQ(c.run("SELECT queued_tick, last_instance_id FROM schedules"), "|" + kSecond);
  EXPECT_EQ(invariants(), "");
}

// The end of the one and the queueing of the other at once: either order, neither is lost.
TEST_F(Schedules, ATickThatIsQueuedWhileTheOtherEndsIsNotForgotten) {
  schedule("s", "overlap => 'queue_one'");
  a.run(fire(version()));
  const std::string end = end_of(kFirst);
  a.run("BEGIN");
  a.run(end);
  EXPECT_EQ(b.run(fire(version(), 1)), "");  // in hand: looked at again
  a.run("COMMIT");
  EXPECT_EQ(b.run(fire(version(), 1)), kSecond + "|started");

  const std::string other = end_of(kSecond);
  c.run("LISTEN " + schema.name() + "_timer_expired");
  b.run("BEGIN");
  EXPECT_EQ(b.run(fire(version(), 2)), kThird + "|queued");
  a.send(other);
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_THAT(a.collect(), StartsWith("1|t|"));
  EXPECT_EQ(c.notifications().size(), 1u) << "nobody would look before the sweep";
  EXPECT_EQ(b.run("SELECT started FROM look_at_schedules(10) WHERE started > ''"), kThird);
}

// What the lock is for.
TEST_F(Schedules, WithoutTheLockOnTheOtherItsEndTellsNobody) {
  schema.patch("fire_schedule", "         FOR SHARE SKIP LOCKED;", ";");
  schedule("s", "overlap => 'queue_one'");
  a.run(fire(version()));
  const std::string end = end_of(kFirst);
  c.run("LISTEN " + schema.name() + "_timer_expired");
  a.run("BEGIN");
  a.run(end);
  EXPECT_EQ(b.run(fire(version(), 1)), kSecond + "|queued");
  EXPECT_EQ(b.run("SELECT count(*) FROM look_at_schedules(10) WHERE started > ''"), "0");
  a.run("COMMIT");
  EXPECT_EQ(c.notifications().size(), 0u);
}

TEST_F(Schedules, OfTwoTimersOneStartsAQueuedTick) {
  schedule("s", "overlap => 'queue_one'");
  a.run(fire(version()));
  b.run(fire(version(), 1));
  a.run(end_of(kFirst));
  a.run("BEGIN");
  EXPECT_EQ(a.run("SELECT started FROM look_at_schedules(10) WHERE started > ''"), kSecond);
  EXPECT_EQ(b.run("SELECT started FROM look_at_schedules(10) WHERE started > ''"), "");
  a.run("COMMIT");
  EXPECT_EQ(b.run("SELECT started FROM look_at_schedules(10) WHERE started > ''"), "");
  EXPECT_EQ(instances(), kFirst + "\n" + kSecond);
}

TEST_F(Schedules, PausedTheyDoNothingAndResumedTheyGoOnFromNow) {
  schedule("s", "overlap => 'queue_one'");
  a.run(fire(version()));
  a.run(fire(version(), 1));
  EXPECT_EQ(c.run("SELECT pause_schedule('s')"), "t");
  EXPECT_EQ(c.run("SELECT pause_schedule('s')"), "f");
  EXPECT_EQ(a.run("SELECT count(*) FROM look_at_schedules(10)"), "0");
  EXPECT_EQ(c.run("SELECT paused, next_tick, queued_tick FROM workflow_schedules"), "t||");
  EXPECT_EQ(c.run("SELECT create_schedule('s', 'w', every => '1 hour')"), "replaced");
  EXPECT_EQ(c.run("SELECT paused FROM workflow_schedules"), "t");
  EXPECT_EQ(c.run("SELECT resume_schedule('s')"), "t");
  EXPECT_EQ(c.run("SELECT resume_schedule('s')"), "f");
  EXPECT_EQ(a.run("SELECT name, next_tick_us, planned_from_us > (extract(epoch FROM now() - interval '1 minute') * 1000000)::bigint "
                  "FROM look_at_schedules(10)"), "s||t");
}

TEST_F(Schedules, TriggeredTheyStartNowBesideTheirTicks) {
  schedule("s", "input => '7'");
  c.run("SELECT pause_schedule('s')");
  const std::string id = c.run("SELECT trigger_schedule('s')");
  EXPECT_THAT(id, testing::MatchesRegex("s@[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z"));
  EXPECT_EQ(c.run("SELECT instance_id, data FROM inbox"), id + "|7");
  EXPECT_EQ(counters(), "0|0|0");
}

TEST_F(Schedules, AClientMakesThemAndAWorkerSeesToThem) {
  b.run("SET ROLE " + schema.name() + "_client");
  b.run("SELECT create_schedule('s', 'w', every => '1 minute', overlap => 'cancel_other')");
  EXPECT_EQ(b.run("SELECT name FROM workflow_schedules"), "s");
  EXPECT_THAT(b.error("SELECT * FROM fire_schedule('s', 1, NULL, 0, '{}', 1)"), StartsWith("42501"));
  const std::string v = version();
  a.run("SET ROLE " + schema.name() + "_worker");
  EXPECT_EQ(a.run("SELECT name FROM look_at_schedules(10)"), "s");
  EXPECT_EQ(a.run("SELECT outcome FROM fire_schedule('s', " + v + ", NULL, 0, '{1767323040,1767323100}', 1767323160)"), "started\nstarted");
  EXPECT_EQ(a.run("SELECT note_schedule('s', " + v + ", 'no such zone'), next_schedule() < 0"), "t|t");
  EXPECT_EQ(b.run("SELECT note, trigger_schedule('s') > '', remove_schedule('s') FROM workflow_schedules"), "no such zone|t|t");
}

}  // namespace
}  // namespace romancy::test
