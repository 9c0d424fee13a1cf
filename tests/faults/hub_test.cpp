// I1..I4, X1: subscribers, strangers and payloads that mean no good.
#include <gtest/gtest.h>
#include <signal.h>

#include <random>

#include "tests/support/site.hpp"
#include "tests/support/bare_peer.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kHello = R"({"hello":1,"role":"observer","group":"me","channels":["workflow_resumable","channel_message","timer_expired","outbox_pending"]})";

TEST(Faults, I1_SubscriberThatDoesNotRead) {
  auto dropped = std::make_shared<bool>(false);
  run({.id = "I1", .fault = "a subscriber that never reads, and 30,000 notifications", .bound = 10s,
       .inject = [dropped](Site& s) {
         BarePeer peer = BarePeer::connect(s.runtime_dir() + "/hub.sock");
         peer.say(kHello);
         const auto before = s.counter("listener", "notifications");
         for (int i = 0; i < 6; ++i) {
           s.run_sql("SELECT pg_notify('romancy_channel_message', json_build_object('channel_name', 'nobody', 'pad', repeat('x', 200), 'n', i)::text) "
                     "FROM generate_series(1, 5000) i");
         }
         EXPECT_TRUE(eventually([&] { return s.counter("listener", "notifications") >= before + 30'000; })) << s.log();
         EXPECT_TRUE(eventually([&] { return s.logged("does not read") > 0; })) << s.log();
         *dropped = true;
         EXPECT_LE(peer.lines().size(), 4000u);
         s.expect_progress();
       },
       .proof = [dropped](Site& s) {
         const auto overflows = s.counter("listener", "hub_overflows");
         return *dropped && overflows > 0 ? "its queue became one resync " + std::to_string(overflows) + " times, then it was dropped; the listener read on" : "";
       }});
}

TEST(FaultsSmoke, I2_Garbage) {
  const unsigned seed = std::random_device{}();
  std::fprintf(stderr, "seed %u\n", seed);
  run({.id = "I2", .fault = "300 peers that send garbage, half lines, too long lines, other versions", .bound = 1s,
       .inject = [seed](Site& s) {
         std::mt19937 random(seed);
         const std::string hello = kHello;
         std::vector<BarePeer> half, wrong;
         for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) {
           // A connect that finds the queue of those before it full is refused at once, and tried again.
           UniqueFd fd;
           EXPECT_TRUE(eventually([&] {
             auto connected = io::connect_unix(s.runtime_dir() + (i % 2 ? "/hub.sock" : "/control.sock"));
             if (connected) fd = std::move(*connected);
             return connected.has_value();
           }));
           BarePeer peer(std::move(fd));
           std::string said;
           switch (i / 2 % 6) {
             case 0: for (int k = 0; k < 200; ++k) said += static_cast<char>(random()); break;
             case 1: said = R"({"hello":99,"role":"observer","group":"me","channels":[]})" "\n"; break;
             case 2: said = std::string(70'000, '['); break;
             case 3: said = hello.substr(0, random() % hello.size()); break;
             case 4: said = R"({"hello":1,"role":7,"group":[],"channels":{}})" "\n"; break;
             case 5: said = R"({"command":"no such","component":{"a":[1,2,3]}})" "\n"; break;
           }
           // A peer that was refused already takes no more: that is what is expected of it.
           static_cast<void>(peer.try_say(said));
           const bool whole = i % 2 == 1 && (i / 2 % 6 == 1 || i / 2 % 6 >= 4);  // to the hub, and a whole line
           if (whole && wrong.size() < 12) wrong.push_back(std::move(peer));
           else if (i % 7 == 0 && half.size() < 5) half.push_back(std::move(peer));
         }
         for (auto& peer : wrong) {
           EXPECT_TRUE(eventually([&] { return peer.eof(); })) << "nobody hung up on it";
           EXPECT_FALSE(peer.lines().empty()) << "nobody said why";
         }
         s.expect_progress();
       },
       // Half of them go to the hub, 25 of a kind; half of what is only garbage has no end of a line.
       .proof = [](Site& s) {
         const auto versions = s.counter("listener", "hub_versions"), nonsense = s.counter("listener", "hub_nonsense");
         // Who comes while 64 are there is refused for that.
         const bool refused = versions > 0 && nonsense > 0 && versions + nonsense + s.counter("listener", "hub_crowded") >= 80;
         return refused && s.restarts("listener") == 0 && s.cli("status") == 0 ? "each was refused alone (" + std::to_string(versions) + " of another version, " + std::to_string(nonsense) + " nonsense); nobody else noticed" : "";
       }});
}

TEST(Faults, I3_StrangersAndCrowds) {
  auto most = std::make_shared<std::size_t>(0);
  run({.id = "I3", .fault = "another user asks; 1000 connections", .bound = 1s,
       .inject = [most](Site& s) {
         // The directory is not for others, and neither are the sockets in it.
         const std::string run_dir = s.runtime_dir();
         EXPECT_NE(try_shell("setpriv --reuid=65534 --regid=65534 --clear-groups ls " + run_dir), 0);
         shell("chmod 755 " + run_dir);
         const std::string cli = "setpriv --reuid=65534 --regid=65534 --clear-groups " + program_path("romancy") + " --config " + s.config();
         shell("chmod 755 " + s.dir().path());
         EXPECT_NE(try_shell(cli + " status"), 0);
         EXPECT_NE(try_shell(cli + " restart timer"), 0);
         shell("chmod 666 " + run_dir + "/control.sock");  // as if somebody had opened the door: it is asked who comes
         EXPECT_NE(try_shell(cli + " restart timer"), 0);
         EXPECT_EQ(s.restarts("timer"), 0);
         shell("chmod 660 " + run_dir + "/control.sock && chmod 750 " + run_dir);
         std::vector<BarePeer> crowd;
         for (int i = 0; i < 1000; ++i) {
           if (auto fd = io::connect_unix(run_dir + "/hub.sock")) crowd.emplace_back(std::move(*fd));
           if (!crowd.empty()) static_cast<void>(crowd.back().try_say(std::string(kHello) + "\n"));
           if (crowd.size() > 250) crowd.erase(crowd.begin());
         }
         EXPECT_TRUE(eventually([&] { return s.counter("listener", "hub_crowded") > 0; })) << s.log();
         *most = static_cast<std::size_t>(s.counter("listener", "subscribers"));
         s.expect_progress();
       },
       .proof = [most](Site& s) { return s.logged("refused") > 0 && *most <= 64 ? std::string("refused by mode and by credentials; never more than 64 subscribers") : ""; }});
}

TEST(Faults, I4_ListenerRestartStorm) {
  auto kills = std::make_shared<int>(0);
  const auto time = lasting(20s, 300s);
  const std::string fault = "the listener is killed as often as it is there, for " + std::to_string(time.count()) + " s";
  auto polls = std::make_shared<std::int64_t>(0);
  run({.id = "I4", .fault = fault.c_str(), .bound = 3s,
       .inject = [=](Site& s) {
         const auto until = s.now_us() + std::chrono::microseconds(time).count();
         const auto swept = [&s] { return s.counter("worker.1", "wakes_swept") + s.counter("worker.2", "wakes_swept"); };
         const auto before = swept(), done = s.probes_done();
         // At once: it never comes to say anything to anybody.
         pid_t last = 0;
         while (s.now_us() < until && !testing::Test::HasFailure()) {
           const Json one = s.component("listener");
           const pid_t pid = one.is_null() ? 0 : one.value("pid", 0);
           if (pid > 0 && pid != last && ::kill(pid, SIGKILL) == 0) {
             last = pid;
             ++*kills;
           }
         }
         EXPECT_GT(s.probes_done(), done + 10 * time.count()) << "nothing went on meanwhile";
         *polls = swept() - before;
         EXPECT_TRUE(eventually([&] { return s.all_ready(); }, 90s)) << s.log();
       },
       .proof = [=](Site&) { return *kills >= 5 && *polls >= 10 ? std::to_string(*kills) + " kills; work went on by " + std::to_string(*polls) + " polls" : ""; },
       .bound_text = "the poll interval (1 s) for each of its steps",
       .options = {.supervisor = "restart_delay_max = \"2s\"\n"}});
}

TEST(Faults, X1_ForgedAndMalformed) {
  auto looks = std::make_shared<std::int64_t>(0);
  run({.id = "X1a", .fault = "10,000 forged and malformed notifications, messages and inputs of the wrong type and size", .bound = 5s,
       .inject = [=](Site& s) {
         const auto begun = s.now_us();
         const auto woken = [&s] {
           std::int64_t most = 0;
           for (const char* name : {"worker.1", "worker.2", "relay"}) most = std::max(most, s.counter(name, "wakes_notified"));
           return most;
         };
         const auto before = woken();
         for (const char* channel : {"workflow_resumable", "timer_expired", "channel_message", "outbox_pending"}) {
           const std::string name = std::string("romancy_") + channel;
           s.run_sql("SELECT pg_notify('" + name + "', p) FROM unnest(ARRAY['', 'x', '{', '[]', 'null', '{\"instance_id\":7}', '{\"instance_id\":\"r-0\"}', "
                     "repeat('[', 4000), '{\"a\":' || repeat('{\"a\":', 900) || '1' || repeat('}', 901), repeat('\\u0000', 900), repeat('z', 7999)]) p");
           s.run_sql("SELECT pg_notify('" + name + "', json_build_object('instance_id', 'forged-' || i)::text) FROM generate_series(1, 2500) i");
         }
         EXPECT_TRUE(eventually([&] { return s.counter("listener", "notifications") > 10'000; }));
         *looks = woken() - before;
         EXPECT_LE(*looks, (s.now_us() - begun) / 5000 + 1) << "a look at most every 5 ms";
         for (int i = 0; i < 3; ++i) s.run_sql("SELECT romancy.start_workflow('takes_text', 'null', 'x-text-" + std::to_string(i) + "')");
         s.run_sql("SELECT romancy.publish('text', '{\"not\":\"a text\"}', '{}', 'x-text-0'); SELECT romancy.publish('text', '17', '{}', 'x-text-1'); "
                   "SELECT romancy.publish('text', to_jsonb(repeat('long', 100000)), '{}', 'x-text-2')");
         s.run_sql("SELECT romancy.start_workflow('walk', '\"not a number\"', 'x-input'), romancy.start_workflow('nobody serves this', '{}', 'x-nobody')");
         EXPECT_TRUE(eventually([&] { return s.ask("SELECT count(*) FROM romancy.instances WHERE instance_id IN ('x-text-0', 'x-text-1', 'x-input') AND status = 3") == "3"; }));
         EXPECT_TRUE(eventually([&] { return s.ask("SELECT status FROM romancy.instances WHERE instance_id = 'x-text-2'") == "2"; }));
         s.run_sql("SELECT romancy.cancel_workflow('x-nobody', 'nobody serves it'); DELETE FROM romancy.pokes WHERE instance_id = 'x-nobody'; "
                   "DELETE FROM romancy.inbox WHERE instance_id = 'x-nobody'; DELETE FROM romancy.instances WHERE instance_id = 'x-nobody'");
       },
       .proof = [=](Site& s) {
         const auto bad = s.counter("listener", "notifications_bad");
         return bad > 0 ? std::to_string(bad) + " malformed notifications counted; the forged ones made a process look " + std::to_string(*looks) + " times; wrong types fail their instance alone" : "";
       }});
}

// Decision: who kills its workers is claimed alone from its second crash on, and parked at the fifth; nobody else is.
TEST(Faults, X1_WorkflowThatKillsItsWorkers) {
  {
    Site asked;
    asked.start_supervisor();
    EXPECT_TRUE(eventually([&] { return asked.ask("SELECT to_regprocedure('romancy.check_invariants()') IS NOT NULL") == "t"; }));
    if (asked.ask("SELECT prosrc LIKE '%v_suspects%' FROM pg_proc WHERE proname = 'claim_runs'") != "t") {
      ROMANCY_NEEDS(std::string("a finding: this claim_runs does not claim alone who killed workers, so neighbours are parked as well"));
    }
  }
  run({.id = "X1b", .fault = "a workflow that kills its worker each time, beside innocent ones", .bound = 15s,
       .inject = [](Site& s) {
         s.run_sql("SELECT romancy.start_workflow('poison', 'null', 'x-poison')");
         EXPECT_TRUE(eventually([&] { return s.ask("SELECT status FROM romancy.instances WHERE instance_id = 'x-poison'") == "5"; }, 120s)) << s.log();
         EXPECT_EQ(s.count("SELECT count(*) FROM romancy.instances WHERE status = 5 AND instance_id <> 'x-poison'"), 0) << "a neighbour was parked";
       },
       .proof = [](Site& s) {
         const auto deaths = s.restarts("worker.1") + s.restarts("worker.2");
         EXPECT_EQ(deaths, 5) << "each death counts, and nobody else's";
         return deaths >= 5 ? "parked after " + std::to_string(deaths) + " deaths; nobody else was" : "";
       },
       .options = {.supervisor = "restart_delay_max = \"2s\"\n"}});
}

}  // namespace
}  // namespace romancy::test
