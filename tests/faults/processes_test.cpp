// P1..P12: processes that die, stop, do not start, do not end.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "tests/support/site.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

std::string restarted(Site& site, const std::string& component, int at_least = 1) {
  const auto times = site.restarts(component);
  return times >= at_least ? component + " started again " + std::to_string(times) + (times == 1 ? " time" : " times") : "";
}

std::string all_of(std::initializer_list<std::string> facts) {
  std::string text;
  for (const auto& fact : facts) {
    if (fact.empty()) return "";
    text += (text.empty() ? "" : "; ") + fact;
  }
  return text;
}

// Whether it has set a handler: else the signal would end it.
bool handles(pid_t pid, int signal) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("SigCgt:")) return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
  }
  return false;
}

TEST(FaultsSmoke, P1_ListenerKilled) {
  run({.id = "P1", .fault = "the listener is killed", .bound = 2s,
       .inject = [](Site& s) { s.kill("listener"); },
       .proof = [](Site& s) { return restarted(s, "listener"); }});
}

TEST(FaultsSmoke, P2_WorkerKilled) {
  run({.id = "P2a", .fault = "one of two workers is killed", .bound = 1s,
       .inject = [](Site& s) { s.kill_at_work("worker.1"); },
       .proof = [](Site& s) { return restarted(s, "worker.1"); }});
}

TEST(Faults, P2_TimerKilled) {
  run({.id = "P2b", .fault = "the timer is killed", .bound = 1s,
       .inject = [](Site& s) { s.kill("timer"); },
       .proof = [](Site& s) { return restarted(s, "timer"); }});
}

TEST(Faults, P2_RelayKilled) {
  run({.id = "P2c", .fault = "the relay is killed", .bound = 1s,
       .inject = [](Site& s) { s.kill_at_work("relay"); },
       .proof = [](Site& s) { return restarted(s, "relay"); },
       .events = true});
}

TEST(Faults, P2_WorkersTimerAndRelayAgainAndAgain) {
  const unsigned seed = std::random_device{}();
  std::fprintf(stderr, "seed %u\n", seed);
  run({.id = "P2d", .fault = "workers, timer and relay are killed in any order, 12 times", .bound = 5s,
       .inject = [seed](Site& s) {
         std::mt19937 random(seed);
         const std::vector<std::string> all{"worker.1", "worker.2", "timer", "relay"};
         std::vector<std::string> order;
         for (int i = 0; i < 3; ++i) order.insert(order.end(), all.begin(), all.end());
         std::shuffle(order.begin(), order.end(), random);
         for (const auto& victim : order) {
           s.kill(victim);
           s.expect_progress(5);
         }
       },
       .proof = [](Site& s) { return all_of({restarted(s, "worker.1", 3), restarted(s, "worker.2", 3), restarted(s, "timer", 3), restarted(s, "relay", 3)}); }});
}

TEST(FaultsSmoke, P3_SupervisorKilled) {
  auto pids = std::make_shared<std::map<std::string, pid_t>>();
  run({.id = "P3", .fault = "the supervisor is killed, and started again", .bound = 3s,
       .inject = [pids](Site& s) {
         *pids = s.pids();
         EXPECT_EQ(pids->size(), 5u);
         s.supervisor_may_change();
         s.supervisor().kill9();
         EXPECT_TRUE(eventually([&] {
           return std::all_of(pids->begin(), pids->end(), [](const auto& child) { return process_gone(child.second); });
         })) << "orphans";
       },
       .heal = [](Site& s) { s.start_supervisor(); },
       .proof = [pids](Site& s) { return s.pids() != *pids ? std::string("no orphan was left; everything is new") : ""; }});
}

TEST(Faults, P4_EveryChildStopped) {
  run({.id = "P4", .fault = "SIGSTOP to a worker, the timer, the relay and the listener", .bound = 25s,
       .inject = [](Site& s) {
         std::map<std::string, pid_t> stopped;
         for (const char* name : {"worker.1", "timer", "relay", "listener"}) {
           stopped[name] = s.pid(name);
           ::kill(stopped[name], SIGSTOP);
         }
         for (const auto& [name, pid] : stopped) EXPECT_TRUE(eventually([pid = pid] { return process_gone(pid); })) << name;
         EXPECT_TRUE(eventually([&] { return s.all_ready(); })) << s.log();
       },
       .proof = [](Site& s) { return all_of({restarted(s, "worker.1"), restarted(s, "timer"), restarted(s, "relay"), restarted(s, "listener")}); }});
}

TEST(Faults, P5_SupervisorStopped) {
  run({.id = "P5", .fault = "SIGSTOP to the supervisor, for longer than hang_timeout", .bound = 1s,
       .inject = [](Site& s) {
         s.supervisor().signal(SIGSTOP);
         const auto until = s.now_us() + 6'000'000;
         while (s.now_us() < until && !testing::Test::HasFailure()) s.expect_progress();
         s.supervisor().signal(SIGCONT);
       },
       .proof = [](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return std::string("nobody was killed for it");
       },
       .bound_text = "no stop",
       .options = {.supervisor = "hang_timeout = \"3s\"\n"}});
}

TEST(Faults, P6_CrashLoop) {
  auto throttled = std::make_shared<int>(0);
  run({.id = "P6", .fault = "a worker that dies at every start; the other one lives", .bound = 1s,
       .inject = [throttled](Site& s) {
         s.dir().write("fail_at_start", "");
         ::kill(s.pid("worker.1"), SIGKILL);
         EXPECT_TRUE(eventually([&] {
           const Json one = s.component("worker.1");
           return !one.is_null() && one.value("why", "").find("throttled") != std::string::npos;
         })) << s.log();
         *throttled = static_cast<int>(s.restarts("worker.1"));
         s.expect_progress();
         // It is not tried again and again.
         EXPECT_LE(s.restarts("worker.1"), *throttled + 1);
         std::filesystem::remove(s.dir().path() + "/fail_at_start");
         EXPECT_TRUE(eventually([&] { return s.ready("worker.1"); }, std::chrono::seconds(90))) << s.log();
       },
       .proof = [throttled](Site&) { return *throttled >= 3 ? "throttled after " + std::to_string(*throttled + 1) + " deaths, healed by itself" : ""; },
       .bound_text = "the others go on",
       .options = {.supervisor = "restart_delay_max = \"5s\"\n"}});
}

TEST(Faults, P7_WrongConfiguration) {
  run({.id = "P7", .fault = "the timer meets a configuration it refuses (exit 78)", .bound = 1s,
       .inject = [](Site& s) {
         // In the copy that was accepted: what the file says meanwhile is read by nobody but a reload (P11).
         std::ofstream(s.runtime_dir() + "/config.toml", std::ios::app) << "[nonsense]\nkey = 1\n";
         EXPECT_EQ(s.cli("restart timer"), 0);
         EXPECT_TRUE(eventually([&] {
           const Json one = s.component("timer");
           return !one.is_null() && one.value("state", "") == "held" && one.value("why", "").find("78") != std::string::npos;
         })) << s.log();
       },
       .heal = [](Site& s) {
         EXPECT_EQ(s.cli("reload"), 0);  // writes it anew
       },
       .proof = [](Site& s) { return s.logged("nonsense") > 0 ? std::string("held until a reload put it right; the log names the key") : ""; }});
}

TEST(Faults, P8_ProgramThatIsNotExecutable) {
  run({.id = "P8a", .fault = "a worker's program is not executable", .bound = 1s,
       .inject = [](Site& s) {
         const std::string copy = s.dir().path() + "/worker";
         std::filesystem::permissions(copy, std::filesystem::perms::owner_read);
         ::kill(s.pid("worker.1"), SIGKILL);
         EXPECT_TRUE(eventually([&] {
           const Json one = s.component("worker.1");
           return !one.is_null() && one.value("why", "").find("not an executable file") != std::string::npos;
         })) << s.log();
         s.expect_progress();
         std::filesystem::permissions(copy, std::filesystem::perms::owner_all);
         EXPECT_TRUE(eventually([&] { return s.ready("worker.1"); })) << s.log();
       },
       .proof = [](Site& s) {
         const int tries = s.logged("not an executable file");
         return tries > 0 && tries < 40 ? "the other one went on; " + std::to_string(tries) + " lines of it in the log" : "";
       },
       .options = {.supervisor = "restart_delay_max = \"5s\"\n",
                   .wrap = [](const std::string& dir, const std::string& worker) {
                     std::filesystem::copy_file(worker, dir + "/worker");
                     return "\"" + dir + "/worker\"";
                   }}});
}

TEST(Faults, P8_ForkFails) {
  ROMANCY_NEEDS(why_no_pids_cgroup());
  const std::string group = "/sys/fs/cgroup/pids/romancy-faults-" + std::to_string(::getpid());
  run({.id = "P8b", .fault = "the supervisor may not fork (pids cgroup)", .bound = 1s,
       .inject = [group](Site& s) {
         shell("mkdir " + group + " && echo " + std::to_string(s.supervisor().pid()) + " > " + group + "/cgroup.procs && echo 1 > " + group + "/pids.max");
         ::kill(s.pid("worker.1"), SIGKILL);
         EXPECT_TRUE(eventually([&] { return s.logged("Resource temporarily unavailable") > 0; })) << s.log();
         s.expect_progress();
         shell("echo max > " + group + "/pids.max");
         EXPECT_TRUE(eventually([&] { return s.ready("worker.1"); })) << s.log();
       },
       .proof = [group](Site& s) {
         shell("for p in $(cat " + group + "/cgroup.procs); do echo $p > /sys/fs/cgroup/pids/cgroup.procs || true; done; rmdir " + group);
         const int tries = s.logged("Resource temporarily unavailable");
         return tries > 0 && tries < 40 ? "the other worker went on; " + std::to_string(tries) + " lines of it in the log" : "";
       },
       .options = {.supervisor = "restart_delay_max = \"5s\"\n"}});
}

TEST(Faults, P9_StuckDrain) {
  run({.id = "P9", .fault = "an activity that never ends, and a restart of the workers", .bound = 30s,
       .inject = [](Site& s) {
         s.run_sql("SELECT romancy.start_workflow('stuck', to_jsonb('" + s.dir().path() + "/gate'::text), 's-1')");
         EXPECT_TRUE(eventually([&] { return s.count("SELECT count(*) FROM romancy.instances WHERE instance_id = 's-1' AND session_id IS NOT NULL") == 1; }));
         const auto before = s.pids();
         EXPECT_EQ(s.cli("restart worker"), 0);
         EXPECT_TRUE(eventually([&] {
           const auto after = s.pids();
           return after.contains("worker.1") && after.contains("worker.2") && after.at("worker.1") != before.at("worker.1") &&
                  after.at("worker.2") != before.at("worker.2") && s.all_ready();
         })) << s.log();
         s.dir().write("gate", "");
       },
       .proof = [](Site& s) { return s.logged("signalled") > 0 ? std::string("ended by force after stop_timeout") : ""; },
       .options = {.supervisor = "stop_timeout = \"3s\"\n"}});
}

TEST(Faults, P10_ZombieStorm) {
  run({.id = "P10", .fault = "200 orphans end below the supervisor while a worker is started again", .bound = 1s,
       .inject = [](Site& s) { s.kill("worker.1"); },
       .proof = [](Site& s) {
         const std::string zombies = "ps -o stat= --ppid " + std::to_string(s.supervisor().pid()) + " | grep -q Z";
         EXPECT_TRUE(eventually([&] { return try_shell(zombies) != 0; })) << "zombies";
         std::ifstream file(s.dir().path() + "/orphans");
         const std::string all((std::istreambuf_iterator<char>(file)), {});
         const auto orphans = std::count(all.begin(), all.end(), '\n');
         return orphans >= 600 && s.restarts("worker.1") == 1 ? std::to_string(orphans) + " orphans reaped, the worker's own end was not missed" : "";
       },
       .options = {.wrap = [](const std::string& dir, const std::string& worker) {
                     return "\"/bin/sh\", \"-c\", \"i=0; while [ $i -lt 200 ]; do (true & echo >> " + dir + "/orphans); i=$((i+1)); done; exec " + worker + " \\\"$@\\\"\", \"sh\"";
                   },
                   .before = {program_path("fault_worker"), "--subreaper"}}});
}

// These need commands that an older supervisor does not know; it says so, and the row is skipped.
TEST(FaultsSmoke, P11_BadReloadChangesNothing) {
  auto before = std::make_shared<std::map<std::string, pid_t>>();
  {
    Site asked;
    asked.start_supervisor();
    std::string answer;
    EXPECT_TRUE(eventually([&] { return asked.all_ready(); })) << asked.log();
    if (asked.cli("reload", &answer) != 0) ROMANCY_NEEDS("this supervisor has no reload: " + answer);
  }
  run({.id = "P11a", .fault = "a reload of a file that is wrong", .bound = 1s,
       .inject = [before](Site& s) {
         *before = s.pids();
         s.write_config("[nonsense]\nkey = 1\n");
         std::string why;
         EXPECT_NE(s.cli("reload", &why), 0);
         EXPECT_NE(why.find("nonsense"), std::string::npos) << why;
         s.expect_progress();
         s.write_config("");
       },
       .proof = [before](Site& s) { return s.pids() == *before ? std::string("refused with the key's name; the same processes run") : ""; },
       .bound_text = "nothing changes"});
}

TEST(Faults, P11_UpgradesUnderLoad) {
  {
    Site asked;
    asked.start_supervisor();
    EXPECT_TRUE(eventually([&] { return !asked.status().is_null(); }));
    if (!handles(asked.supervisor().pid(), SIGUSR2)) ROMANCY_NEEDS(std::string("this supervisor has no upgrade (SIGUSR2)"));
  }
  auto changed = std::make_shared<int>(0);
  run({.id = "P11b", .fault = "SIGUSR2 (upgrade), 20 times", .bound = 5s,
       .inject = [changed](Site& s) {
         for (int i = 0; i < 20 && !testing::Test::HasFailure(); ++i) {
           const auto before = s.pids();
           s.supervisor().signal(SIGUSR2);
           EXPECT_TRUE(eventually([&] {
             const auto after = s.pids();
             return after.size() == before.size() && std::none_of(after.begin(), after.end(), [&](const auto& child) { return before.at(child.first) == child.second; }) && s.all_ready() &&
                    s.logged("supervisor: upgraded") > i;
           })) << s.log();
           ++*changed;
         }
       },
       .proof = [changed](Site&) { return *changed == 20 ? std::string("each time every child was replaced, in the same supervisor's pid") : ""; }});
}

TEST(Faults, P12_SecondSupervisorAndStaleFiles) {
  run({.id = "P12", .fault = "a second supervisor on the same directory; then kill -9, and what it leaves behind", .bound = 3s,
       .inject = [](Site& s) {
         const auto before = s.pids();
         std::string said;
         Daemon second("romancy-supervisor", {"--config", s.config()}, s.dir().path() + "/second.log");
         EXPECT_NE(second.wait(), 0);
         EXPECT_NE(second.log(), "");
         EXPECT_EQ(s.pids(), before);
         s.supervisor_may_change();
         s.supervisor().kill9();
         EXPECT_TRUE(std::filesystem::exists(s.runtime_dir() + "/control.sock"));
         EXPECT_TRUE(std::filesystem::exists(s.runtime_dir() + "/board"));
       },
       .heal = [](Site& s) { s.start_supervisor(); },
       .proof = [](Site&) { return std::string("the second ends with a message; stale files are replaced"); }});
}

}  // namespace
}  // namespace romancy::test
