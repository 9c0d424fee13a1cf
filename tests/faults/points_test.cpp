// P2, at the exact places: a process dies just before or just after each commit, send, acknowledgement and fork.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <map>

#include "common/base/test_point.hpp"
#include "tests/support/site.hpp"

#ifdef ROMANCY_TEST_POINTS

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

// Each of `points` ends one process, once, at the count-th time it comes by.
void die_at(const char* id, const char* fault, std::vector<std::string> points, const std::function<void(Site&)>& meanwhile = {},
            int count = 40, const std::function<void(Site&)>& afterwards = {}) {
  TempDir once;
  std::string what;
  for (const auto& point : points) what += (what.empty() ? "" : ",") + point + "=crash@" + std::to_string(count);
  const auto reached = [points, dir = once.path()] {
    std::size_t there = 0;
    for (const auto& point : points) there += std::filesystem::exists(dir + "/" + point) ? 1 : 0;
    return there;
  };
  run({.id = id, .fault = fault, .bound = 3s,
       .inject = [&](Site& s) {
         if (meanwhile) meanwhile(s);
         EXPECT_TRUE(eventually([&] { return reached() == points.size(); })) << reached() << " of " << points.size();
         if (afterwards) afterwards(s);
         EXPECT_TRUE(eventually([&] { return s.all_ready(); })) << s.log();
       },
       .proof = [&](Site& s) {
         return reached() == points.size() && s.logged("died") >= static_cast<int>(points.size()) ? "died at each of " + std::to_string(points.size()) + " points" : "";
       },
       .options = {.supervisor = "restart_delay_max = \"1s\"\n",
                   .environment = {{"ROMANCY_TEST_POINTS", what}, {"ROMANCY_TEST_POINTS_ONCE", once.path()}}}});
}

TEST(FaultsSmoke, P2_BeforeAndAfterEveryCommit) {
  die_at("P2e", "workers, timer and relay die before and after COMMIT, claim, send and acknowledgement",
         {"resumer.commit.before", "resumer.commit.after", "timer.fire.before", "timer.fire.after", "relay.claim.after",
          "relay.send.before", "relay.send.after", "relay.acknowledge.before", "relay.acknowledge.after"});
}

TEST(Faults, P2_BeforeAndAfterClaimsAndHints) {
  die_at("P2f", "workers die before and after a claim, the listener before and after a hint",
         {"resumer.claim.before", "resumer.claim.after", "relay.claim.before", "listener.send.before", "listener.send.after"});
}

// The points at which a listener that has connected again is before subscribers know of it; each acts at its second time, the
// first is the start. `what`: what happens there.
std::map<std::string, std::string> between_listen_and_resync(const std::string& what, const std::string& once) {
  std::string all;
  for (const char* point : {"listener.listen.after", "listener.resync.before", "listener.resync.after"}) {
    all += std::string(all.empty() ? "" : ",") + point + "=" + what + "@2";
  }
  return {{"ROMANCY_TEST_POINTS", all}, {"ROMANCY_TEST_POINTS_ONCE", once}};
}

// Its connection is lost three times; each time it gets a point further before it is gone.
void lose_it_between_listen_and_resync(Site& s, const std::string& once) {
  for (const char* point : {"listener.listen.after", "listener.resync.before", "listener.resync.after"}) {
    const auto before = s.restarts("listener");
    s.run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'romancy-listener'");
    EXPECT_TRUE(eventually([&] { return std::filesystem::exists(once + "/" + point); })) << point << s.log();
    s.expect_progress();  // by polling: nobody was told that notifications are heard
    EXPECT_TRUE(eventually([&] { return s.restarts("listener") > before && s.all_ready(); })) << point << s.log();
  }
}

TEST(Faults, P2_ListenerDiesBetweenListenAndResync) {
  TempDir once;
  run({.id = "P2h", .fault = "the listener dies between LISTEN and resync, at each of 3 points", .bound = 3s,
       .inject = [&](Site& s) { lose_it_between_listen_and_resync(s, once.path()); },
       .proof = [](Site& s) { return s.restarts("listener") == 3 ? std::string("started again 3 times; work went on by polling") : ""; },
       .options = {.environment = between_listen_and_resync("crash", once.path())}});
}

// It stands there as one that is stopped (SIGSTOP) does: its connection and the hub's are open, nobody reads.
TEST(Faults, P4_ListenerHaltedBetweenListenAndResync) {
  TempDir once;
  run({.id = "P4b", .fault = "the listener stands still between LISTEN and resync, at each of 3 points", .bound = 4s,
       .inject = [&](Site& s) { lose_it_between_listen_and_resync(s, once.path()); },
       .proof = [](Site& s) {
         return s.restarts("listener") == 3 && s.logged("no heartbeat") >= 3 ? std::string("killed for it 3 times (hang_timeout: 2 s); work went on by polling") : "";
       },
       .options = {.supervisor = "hang_timeout = \"2s\"\n", .environment = between_listen_and_resync("pause:" + once.path() + "/never", once.path())}});
}

// Its worker's work goes on all the same: who takes the timer's place looks for itself.
TEST(Faults, P2_TheTimerDiesAsItEndsTheSessionOfADeadWorker) {
  die_at("P2i", "the timer dies before and after it ends the session of a dead worker", {"timer.reap.before", "timer.reap.after"},
         [](Site& s) {
           s.kill("worker.1");
           s.kill("worker.2");
         },
         1);
}

TEST(Faults, P2_BeforeAndAfterARefusedDelivery) {
  die_at("P2j", "the relay dies before and after it notes that the receiver refused an event", {"relay.refuse.before", "relay.refuse.after"},
         [](Site& s) { s.script_receiver([](const HttpRequest&) { return http_answer(503, "no"); }); }, 5,
         [](Site& s) { s.script_receiver({}); });
}

TEST(Faults, P2_BeforeAndAfterTheCommitOfATransactionalActivity) {
  die_at("P2k", "workers die before and after the COMMIT of a transactional activity", {"resumer.transaction.before", "resumer.transaction.after"},
         [](Site& s) {
           s.run_sql("CREATE TABLE load.ledger (key text); GRANT USAGE ON SCHEMA load TO PUBLIC; GRANT ALL ON load.ledger TO PUBLIC");
           for (int i = 0; i < 100; ++i) s.run_sql("SELECT romancy.start_workflow('ledger', 'null', 'x-ledger-" + std::to_string(i) + "')");
         },
         5, [](Site& s) {
           EXPECT_TRUE(eventually([&] { return s.ask("SELECT count(*) FROM romancy.instances WHERE instance_id LIKE 'x-ledger-%' AND status = 2") == "100"; })) << s.log();
           EXPECT_EQ(s.ask("SELECT count(*) || ' ' || count(DISTINCT key) FROM load.ledger"), "100 100") << "each once";
         });
}

TEST(Faults, P2_BeforeAndAfterATickOfASchedule) {
  die_at("P2m", "the timer dies before and after it sees to a tick of a schedule", {"timer.schedule.before", "timer.schedule.after"},
         [](Site& s) {
           s.run_sql("CREATE TABLE load.ledger (key text); GRANT USAGE ON SCHEMA load TO PUBLIC; GRANT ALL ON load.ledger TO PUBLIC");
           s.run_sql("SELECT romancy.create_schedule('x-tick', 'ledger', every => '1 second', overlap => 'allow')");
         },
         3, [](Site& s) {
           EXPECT_TRUE(eventually([&] { return s.count("SELECT started FROM romancy.schedules") >= 10; })) << s.log();
           s.run_sql("SELECT romancy.pause_schedule('x-tick')");
           EXPECT_EQ(s.ask("SELECT count(*) - 1 - extract(epoch FROM max(tick) - min(tick))::bigint FROM (SELECT split_part(instance_id, '@', 2)"
                           "::timestamptz AS tick FROM romancy.instances WHERE instance_id LIKE 'x-tick@%') t"), "0") << "each tick";
           EXPECT_TRUE(eventually([&] { return s.ask("SELECT count(*) FROM romancy.instances WHERE instance_id LIKE 'x-tick@%' AND status <> 2") == "0"; })) << s.log();
           EXPECT_EQ(s.ask("SELECT count(*) - count(DISTINCT key) FROM load.ledger"), "0") << "once";
         });
}

// The child was forked and is in nobody's book: it must not outlive its parent.
// (The seventh: the migration and five children come before it.)
TEST(Faults, P2_TheSupervisorDiesRightAfterAFork) {
  TempDir once;
  const auto there = [&] { return std::filesystem::exists(once.path() + "/supervisor.fork.after"); };
  auto before = std::make_shared<std::map<std::string, pid_t>>();
  run({.id = "P2l", .fault = "the supervisor dies right after it forked a child", .bound = 3s,
       .inject = [&, before](Site& s) {
         *before = s.pids();
         s.supervisor_may_change();
         ::kill(before->at("worker.1"), SIGKILL);
         s.supervisor().wait();
         EXPECT_TRUE(eventually([&] {
           return std::all_of(before->begin(), before->end(), [](const auto& child) { return process_gone(child.second); });
         })) << "orphans";
       },
       .heal = [](Site& s) { s.start_supervisor(); },
       .proof = [&, before](Site& s) { return there() && s.pids() != *before ? std::string("nothing was left of it; everything is new") : ""; },
       .options = {.environment = {{"ROMANCY_TEST_POINTS", "supervisor.fork.after=crash@7"}, {"ROMANCY_TEST_POINTS_ONCE", once.path()}}}});
}

// fork fails once, while a worker is to be started again.
TEST(Faults, P2_ForkFailsOnce) {
  TempDir once;
  run({.id = "P2g", .fault = "fork fails, once", .bound = 2s,
       .inject = [](Site& s) { s.kill("worker.1"); },
       .proof = [](Site& s) { return s.logged("a test says so") > 0 ? std::string("tried again") : ""; },
       .options = {.supervisor = "restart_delay_max = \"1s\"\n",
                   .environment = {{"ROMANCY_TEST_POINTS", "supervisor.fork.before=error@7"}, {"ROMANCY_TEST_POINTS_ONCE", once.path()}}}});
}

}  // namespace
}  // namespace romancy::test

#endif
