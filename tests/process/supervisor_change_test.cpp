// What an operator changes while everything runs: the configuration (reload), the programs (upgrade), a log level, one
// component. The supervisor's binary and small children: no database.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/base/unique_fd.hpp"
#include "common/proc/board.hpp"
#include "tests/process/supervisor_stage.hpp"

namespace romancy::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<std::string> kAll = {"listener", "timer", "relay", "orders.1", "orders.2"};

std::map<std::string, pid_t> pids_of(const Stage& stage) {
  std::map<std::string, pid_t> pids;
  for (const auto& name : kAll) pids[name] = stage.component(name)["pid"];
  return pids;
}

std::string error_of(const Json& answer) { return answer.value("error", "(no error) " + answer.dump()); }
std::string note_of(const Stage& stage) { return stage.ask({{"command", "status"}})["supervisor"]["note"]; }

// systemd's end of sd_notify.
class Notified {
 public:
  explicit Notified(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  // The next datagram that has this in it; what came before is dropped.
  std::string next(const std::string& part) {
    std::string found;
    eventually([&] {
      char text[4096] = {};
      while (found.empty() && ::recv(fd_.get(), text, sizeof text - 1, 0) > 0) {
        if (std::string(text).find(part) != std::string::npos) found = text;
        std::fill(std::begin(text), std::end(text), '\0');
      }
      return !found.empty();
    });
    return found;
  }

 private:
  UniqueFd fd_;
};

// --------------------------------------------------------------------------------------------------------- one by one

TEST(Operator, ADrainHasNoLimitUntilSomebodySaysStop) {
  Stage stage("stop_timeout = \"200ms\"");
  stage.does("orders.1", "slow");
  stage.does("orders.2", "deaf");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  EXPECT_EQ(stage.ask({{"command", "drain"}, {"component", "orders"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.is("orders.1", "draining") && stage.seen("orders.2 draining") == 1; }));
  const std::int64_t then = stage.component("timer")["uptime_ms"];
  ASSERT_TRUE(eventually([&] { return stage.component("timer")["uptime_ms"] > then + 1000; }));
  EXPECT_TRUE(stage.is("orders.1", "draining"));  // far beyond stop_timeout
  EXPECT_TRUE(stage.is("orders.2", "draining"));
  std::filesystem::create_directory(stage.path("go"));
  ASSERT_TRUE(eventually([&] { return stage.is("orders.1", "stopped"); }));
  EXPECT_EQ(stage.component("orders.1")["last_exit"], "exit 0");
  EXPECT_EQ(stage.ask({{"command", "stop"}, {"component", "orders.2"}})["ok"], true);
  EXPECT_TRUE(eventually([&] { return stage.is("orders.2", "stopped"); }));
  EXPECT_TRUE(stage.is("timer", "ready"));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Operator, ALogLevelIsChangedForOneComponentAndOutlivesItsProcess) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto level = [&](const std::string& component, const std::string& word) {
    return stage.ask({{"command", "log-level"}, {"component", component}, {"level", word}});
  };
  EXPECT_EQ(level("timer", "debug")["ok"], true);
  EXPECT_TRUE(eventually([&] { return stage.supervisor().logged("timer: log level changed level=debug"); }));
  const pid_t pid = stage.component("timer")["pid"];
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] {
    const std::string log = stage.supervisor().log();
    const auto first = log.find("timer: log level changed level=debug");
    return log.find("timer: log level changed level=debug", first + 1) != std::string::npos;
  }));
  EXPECT_EQ(level("timer", "default")["ok"], true);
  EXPECT_TRUE(eventually([&] { return stage.supervisor().logged("timer: log level changed level=info"); }));
  EXPECT_FALSE(stage.supervisor().logged("relay: log level"));
  EXPECT_EQ(level("supervisor", "debug")["ok"], true);
  EXPECT_THAT(error_of(level("timer", "loud")), HasSubstr("must be debug, info, warn, error or default"));
  EXPECT_THAT(error_of(level("nobody", "debug")), HasSubstr("supervisor, listener, timer"));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

// ------------------------------------------------------------------------------------------------------------- reload

TEST(Reload, ABadFileChangesNothingAndSaysWhy) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto before = pids_of(stage);
  stage.configure("hang_timeout = \"soon\"");
  const std::string why = error_of(stage.ask({{"command", "reload"}}));
  EXPECT_THAT(why, HasSubstr("romancy.toml:"));
  EXPECT_THAT(why, HasSubstr("supervisor.hang_timeout = \"soon\": must be a duration"));
  EXPECT_THAT(note_of(stage), HasSubstr("reload refused: "));
  EXPECT_EQ(pids_of(stage), before);
  // A process that is restarted meanwhile is not the first victim of that file.
  ASSERT_EQ(::kill(before.at("timer"), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return stage.component("timer")["restarts"] == 1 && stage.is("timer", "ready"); }));
  std::filesystem::remove(stage.config());
  EXPECT_THAT(error_of(stage.ask({{"command", "reload"}})), HasSubstr("cannot be read"));
  stage.configure("");
  EXPECT_EQ(stage.ask({{"command", "reload"}})["ok"], true);
  EXPECT_EQ(note_of(stage), "");
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Reload, RestartsTheReadersOfWhatHasChangedAndNobodyElse) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  auto before = pids_of(stage);
  EXPECT_EQ(stage.ask({{"command", "reload"}}), Json::parse(R"({"ok":true,"changed":[],"started":[],"stopped":[],"restarted":[]})"));
  stage.configure("restart_delay = \"7ms\"", "[poll]\ntimer_interval = \"2s\"\n");
  const Json answer = stage.ask({{"command", "reload"}});
  EXPECT_EQ(answer["changed"], Json({"poll.timer_interval", "supervisor.restart_delay"}));
  EXPECT_EQ(answer["restarted"], Json({"timer"}));
  ASSERT_TRUE(eventually([&] { return stage.all_ready() && stage.component("timer")["pid"] != before["timer"]; }));
  before["timer"] = stage.component("timer")["pid"];
  EXPECT_EQ(pids_of(stage), before);
  // The level of the logs is told to those that run.
  stage.configure("restart_delay = \"7ms\"", "[poll]\ntimer_interval = \"2s\"\n[log]\nlevel = \"debug\"\n");
  EXPECT_EQ(stage.ask({{"command", "reload"}})["restarted"], Json::array());
  EXPECT_TRUE(eventually([&] { return stage.supervisor().logged("orders.2: log level changed level=debug"); }));
  EXPECT_EQ(pids_of(stage), before);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Reload, StartsWhatIsNewAndStopsWhatIsNoMore) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto before = pids_of(stage);
  stage.configure("", "[[resumer]]\nname = \"mail\"\ncommand = [\"" SUPERVISOR_CHILD "\"]\n[relay]\nenabled = false\n", true, 1);
  const Json answer = stage.ask({{"command", "reload"}});
  EXPECT_EQ(answer["started"], Json({"mail.1"}));
  EXPECT_EQ(answer["stopped"], Json({"relay", "orders.2"}));
  EXPECT_EQ(answer["restarted"], Json::array());
  ASSERT_TRUE(eventually([&] {
    return stage.is("mail.1", "ready") && stage.is("relay", "absent") && stage.is("orders.2", "absent");
  }));
  EXPECT_TRUE(process_gone(before.at("relay")));
  EXPECT_EQ(stage.component("timer")["pid"], before.at("timer"));
  EXPECT_EQ(stage.component("orders.1")["pid"], before.at("orders.1"));
  // Back again, the relay's counters go on where they were.
  stage.configure("");
  EXPECT_EQ(stage.ask({{"command", "reload"}})["started"], Json({"relay", "orders.2"}));
  ASSERT_TRUE(eventually([&] { return stage.all_ready() && stage.is("mail.1", "absent"); }));
  const auto views = proc::Board::open(stage.path("run/board"))->read();
  const auto relay = std::find_if(views.begin(), views.end(), [](const auto& view) { return view.component == "relay"; });
  ASSERT_NE(relay, views.end());
  EXPECT_EQ(relay->counters[static_cast<std::size_t>(proc::Counter::claims)], 2u);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Reload, TheListenerComesAndGoesWithTheHub) {
  Stage stage("", "", false);
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  stage.configure("");
  EXPECT_EQ(stage.ask({{"command", "reload"}})["started"], Json({"listener"}));
  ASSERT_TRUE(eventually([&] { return stage.is("listener", "ready") && stage.all_ready(); }));
  EXPECT_THAT(stage.events(), testing::Contains("listener fds 0,1,2,3,4,5"));
  EXPECT_TRUE(std::filesystem::exists(stage.path("run/hub.sock")));
  stage.configure("", "", false);
  EXPECT_EQ(stage.ask({{"command", "reload"}})["stopped"], Json({"listener"}));
  ASSERT_TRUE(eventually([&] { return stage.is("listener", "absent") && stage.all_ready(); }));
  EXPECT_FALSE(std::filesystem::exists(stage.path("run/hub.sock")));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Reload, LetsTheHeldTryAgainAndLeavesTheStoppedStopped) {
  Stage stage;
  stage.does("relay", "refuses");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "held") && stage.is("timer", "ready"); }));
  EXPECT_EQ(stage.ask({{"command", "stop"}, {"component", "timer"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.is("timer", "stopped"); }));
  stage.does("relay", "");
  stage.configure("", "[poll]\ntimer_interval = \"2s\"\n");
  EXPECT_EQ(stage.ask({{"command", "reload"}})["restarted"], Json({"relay"}));
  EXPECT_TRUE(eventually([&] { return stage.is("relay", "ready"); }));
  EXPECT_TRUE(stage.is("timer", "stopped"));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Reload, WhatOnlyARestartCanChangeIsRefusedByName) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  stage.configure("");
  std::filesystem::rename(stage.config(), stage.path("old"));
  ASSERT_EQ(std::system(("sed 's|/run\"|/elsewhere\"|' " + stage.path("old") + " > " + stage.config()).c_str()), 0);
  EXPECT_THAT(error_of(stage.ask({{"command", "reload"}})), HasSubstr("runtime.dir: cannot be changed by a reload"));
  EXPECT_TRUE(stage.all_ready());
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Reload, BySighupIsToldToSystemdWithItsMoment) {
  Stage stage;
  Notified systemd(stage.path("notify"));
  stage.start();
  EXPECT_THAT(systemd.next("READY=1"), StartsWith("READY=1"));
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  EXPECT_THAT(systemd.next("STATUS=5 of 5 processes are ready"), HasSubstr("STATUS="));
  const auto before = std::chrono::steady_clock::now().time_since_epoch();
  stage.configure("", "[poll]\ntimer_interval = \"2s\"\n");
  stage.supervisor().signal(SIGHUP);
  const std::string reloading = systemd.next("RELOADING=1");
  const auto at = reloading.find("MONOTONIC_USEC=");
  ASSERT_NE(at, std::string::npos) << reloading;
  EXPECT_GE(std::stoll(reloading.substr(at + 15)), std::chrono::duration_cast<std::chrono::microseconds>(before).count());
  EXPECT_THAT(systemd.next("READY=1"), StartsWith("READY=1"));
  ASSERT_TRUE(eventually([&] { return stage.seen("timer ready") == 2; }));
  stage.configure("nonsense = 1");
  stage.supervisor().signal(SIGHUP);
  EXPECT_THAT(systemd.next("reload refused"), HasSubstr("nonsense"));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  EXPECT_THAT(systemd.next("STOPPING=1"), StartsWith("STOPPING=1"));
}

TEST(Systemd, IsFedAtHalfItsWatchdogsTime) {
  Stage stage;
  Notified systemd(stage.path("notify"));
  stage.start({{"WATCHDOG_USEC", "400000"}});
  for (int n = 0; n < 3; ++n) EXPECT_EQ(systemd.next("WATCHDOG=1"), "WATCHDOG=1");
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

// ------------------------------------------------------------------------------------------------------------ upgrade

TEST(Upgrade, KeepsThePidAndReplacesEveryChildTheListenerWithoutAGap) {
  Stage stage;
  stage.own_program();
  Notified systemd(stage.path("notify"));
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto before = pids_of(stage);
  const pid_t supervisor = stage.ask({{"command", "status"}})["supervisor"]["pid"];
  stage.supervisor().signal(SIGUSR2);
  systemd.next("RELOADING=1");
  EXPECT_THAT(systemd.next("MAINPID="), HasSubstr("MAINPID=" + std::to_string(supervisor)));
  ASSERT_TRUE(eventually([&] {
    const auto now = pids_of(stage);
    return stage.all_ready() && std::all_of(kAll.begin(), kAll.end(), [&](const auto& name) { return now.at(name) != before.at(name); });
  })) << stage.supervisor().log();
  EXPECT_TRUE(stage.supervisor().running());
  EXPECT_EQ(stage.ask({{"command", "status"}})["supervisor"]["pid"], supervisor);
  EXPECT_TRUE(eventually([&] { return note_of(stage).empty(); }));
  // Both heard for a moment; and each of the others was ready before the next was touched.
  EXPECT_LT(stage.place("listener hears"), stage.place("listener draining"));
  for (std::size_t n = 1; n + 1 < kAll.size(); ++n) {
    EXPECT_LT(stage.place(kAll[n] + " ready"), stage.place(kAll[n + 1] + " draining")) << kAll[n];
  }
  for (const auto& [name, pid] : before) {
    EXPECT_TRUE(eventually([&] { return process_gone(pid); })) << name;
    EXPECT_EQ(stage.component(name)["restarts"], 1) << name;
  }
  EXPECT_EQ(stage.supervisor().terminate(), 0) << stage.supervisor().log();
}

TEST(Upgrade, AgainAndAgainUnderAKillKeepsTheCountersMonotonic) {
  Stage stage;
  stage.own_program();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto board = proc::Board::open(stage.path("run/board"));
  ASSERT_TRUE(board);
  std::map<std::string, std::uint64_t> last;
  const auto sample = [&] {
    for (const auto& view : board->read()) {
      const auto claims = view.counters[static_cast<std::size_t>(proc::Counter::claims)];
      EXPECT_GE(claims, last[view.component]) << view.component;
      last[view.component] = claims;
    }
  };
  for (int n = 1; n <= 3; ++n) {
    const pid_t timer = stage.component("timer")["pid"];
    const pid_t listener = stage.component("listener")["pid"];
    stage.supervisor().signal(SIGUSR2);
    ASSERT_TRUE(eventually([&] {
      sample();
      return stage.component("timer")["pid"] != timer && stage.component("listener")["pid"] != listener &&
             stage.all_ready() && note_of(stage).empty();
    })) << stage.supervisor().log();
  }
  const pid_t killed = stage.component("timer")["pid"];
  ASSERT_EQ(::kill(killed, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] {
    sample();
    return stage.component("timer")["pid"] != killed && stage.all_ready();
  }));
  sample();
  EXPECT_EQ(last["timer"], 5u);     // one for each process: four that were replaced, and the last
  EXPECT_EQ(last["listener"], 4u);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Upgrade, TheOldListenerStaysUntilTheNewOneHears) {
  Stage stage;
  stage.own_program();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t old = stage.component("listener")["pid"];
  stage.does("listener", "hears-late");
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.seen("listener ready") == 2; })) << stage.supervisor().log();
  const std::int64_t then = stage.component("timer")["uptime_ms"];
  ASSERT_TRUE(eventually([&] { return stage.component("timer")["uptime_ms"] > then + 1500; }));
  EXPECT_EQ(stage.seen("listener draining"), 0);
  EXPECT_EQ(stage.component("listener")["pid"], old);
  {
    const auto board = proc::Board::open(stage.path("run/board"));
    ASSERT_TRUE(board);
    const proc::SlotView view = board->read(0);
    EXPECT_NE(view.pid, old) << "the next one's slot";
    EXPECT_EQ(view.former_pid, old);
    EXPECT_TRUE(view.former_live);
  }
  std::filesystem::create_directory(stage.path("hear"));
  ASSERT_TRUE(eventually([&] { return process_gone(old) && note_of(stage).empty() && stage.all_ready(); }));
  EXPECT_EQ(stage.seen("timer ready"), 2);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Upgrade, AProgramThatCannotTakeOverChangesNothing) {
  Stage stage;
  const std::string program = stage.own_program();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto before = pids_of(stage);
  const auto put = [&](const std::string& text, std::filesystem::perms mode) {
    std::filesystem::remove(program);
    std::ofstream(program) << text;
    std::filesystem::permissions(program, mode);
  };
  const auto all = std::filesystem::perms::owner_all;
  put("#!/bin/sh\nexit 0\n", std::filesystem::perms::owner_read);
  EXPECT_THAT(error_of(stage.ask({{"command", "upgrade"}})), HasSubstr("not an executable file"));
  put("#!/bin/sh\nexit 0\n", all);
  EXPECT_THAT(error_of(stage.ask({{"command", "upgrade"}})), HasSubstr("ended with exit 0 and did not say that all is well"));
  put("#!/bin/sh\necho no such luck\nexit 3\n", all);
  EXPECT_THAT(error_of(stage.ask({{"command", "upgrade"}})), HasSubstr("no such luck"));
  put("#!/bin/sh\nkill -SEGV $$\n", all);
  EXPECT_THAT(error_of(stage.ask({{"command", "upgrade"}})), HasSubstr("signal 11"));
  put("not a program", all);
  EXPECT_THAT(error_of(stage.ask({{"command", "upgrade"}})), HasSubstr("exit 127"));
  std::filesystem::remove(program);
  EXPECT_THAT(error_of(stage.ask({{"command", "upgrade"}})), HasSubstr("No such file"));
  EXPECT_THAT(note_of(stage), StartsWith("upgrade refused: "));
  EXPECT_EQ(pids_of(stage), before);
  EXPECT_TRUE(stage.all_ready());
  // It can still be told to.
  std::filesystem::copy_file(SUPERVISOR, program);
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.component("orders.2")["pid"] != before.at("orders.2") && stage.all_ready(); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Upgrade, AChildThatDoesNotStartHaltsItAndTheOthersWorkOn) {
  Stage stage("restart_delay = \"10s\"\nrestart_delay_max = \"10s\"");
  stage.own_program();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto before = pids_of(stage);
  stage.does("listener", "crashes-early");
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return note_of(stage).starts_with("upgrade halted: listener: exit 3"); })) << stage.supervisor().log();
  EXPECT_EQ(pids_of(stage), before);
  EXPECT_TRUE(stage.all_ready());
  stage.does("listener", "");
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] {
    return stage.component("orders.2")["pid"] != before.at("orders.2") && stage.all_ready() && note_of(stage).empty();
  })) << stage.supervisor().log();
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Upgrade, AfterAHaltedOneTheOldListenerHasItsPlaceOnTheBoardAndIsWatched) {
  Stage stage("restart_delay = \"10s\"\nrestart_delay_max = \"10s\"\nhang_timeout = \"2s\"");
  stage.own_program();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t old = stage.component("listener")["pid"];
  stage.does("listener", "crashes-early");
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return note_of(stage).starts_with("upgrade halted: listener: exit 3"); })) << stage.supervisor().log();
  const auto board = proc::Board::open(stage.path("run/board"));
  ASSERT_TRUE(board);
  ASSERT_TRUE(eventually([&] { return board->read(0).pid == old && board->read(0).beats > 1; })) << board->read(0).pid;
  EXPECT_TRUE(board->read(0).live);
  EXPECT_EQ(board->read(0).state, proc::ProcState::ready);
  stage.does("listener", "");
  ASSERT_EQ(::kill(old, SIGSTOP), 0);
  EXPECT_TRUE(eventually([&] { return stage.component("listener")["pid"] != old && stage.is("listener", "ready"); })) << stage.supervisor().log();
  EXPECT_EQ(stage.component("listener")["last_exit"].get<std::string>().substr(0, 6), "signal");
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

// It cannot be asked to leave, and nobody waits for it: the next one hears.
TEST(Upgrade, AListenerThatWasStoppedIsReplaced) {
  Stage stage("stop_timeout = \"200ms\"");
  stage.own_program();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto before = pids_of(stage);
  ASSERT_EQ(::kill(before.at("listener"), SIGSTOP), 0);
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] {
    return process_gone(before.at("listener")) && stage.component("orders.2")["pid"] != before.at("orders.2") && stage.all_ready() &&
           note_of(stage).empty();
  })) << stage.supervisor().log();
  const auto board = proc::Board::open(stage.path("run/board"));
  ASSERT_TRUE(board);
  EXPECT_EQ(Json(board->read(0).pid), stage.component("listener")["pid"]);
  EXPECT_TRUE(board->read(0).live);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Upgrade, KeepsWhatAnOperatorSaidAndWhatHasDied) {
  Stage stage;
  stage.own_program();
  stage.does("relay", "refuses");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "held") && stage.is("orders.2", "ready"); }));
  EXPECT_EQ(stage.ask({{"command", "stop"}, {"component", "orders.1"}})["ok"], true);
  EXPECT_EQ(stage.ask({{"command", "log-level"}, {"component", "timer"}, {"level", "debug"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.is("orders.1", "stopped"); }));
  const Json orders = stage.component("orders.2")["pid"];
  EXPECT_EQ(stage.ask({{"command", "upgrade"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.component("orders.2")["pid"] != orders && stage.is("orders.2", "ready"); }));
  EXPECT_TRUE(stage.is("orders.1", "stopped"));
  EXPECT_EQ(stage.component("orders.1")["last_exit"], "exit 0");
  EXPECT_TRUE(eventually([&] { return stage.is("relay", "held"); }));  // it tried again, as after a reload
  EXPECT_TRUE(eventually([&] { return note_of(stage).empty(); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

}  // namespace
}  // namespace romancy::test
