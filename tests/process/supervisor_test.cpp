// The supervisor's binary and small children: no database.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "common/base/unique_fd.hpp"
#include "common/proc/board.hpp"
#include "tests/process/supervisor_stage.hpp"

namespace romancy::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

const std::vector<std::string> kAll = {"listener", "timer", "relay", "orders.1", "orders.2"};

void expect_no_process(const Stage& stage) {
  for (const pid_t pid : stage.pids()) {
    EXPECT_TRUE(eventually([&] { return process_gone(pid); })) << "process " << pid << " is left";
  }
}

TEST(Supervisor, StartsEveryComponentWithItsSlotAndItsDescriptors) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); })) << stage.supervisor().log();
  const auto board = proc::Board::open(stage.path("run/board"));
  ASSERT_TRUE(board) << board.error().text;
  for (const auto& name : kAll) {
    const Json one = stage.component(name);
    EXPECT_EQ(one["restarts"], 0) << name;
    EXPECT_TRUE(one["last_exit"].is_null()) << name;
    const auto views = board->read();
    EXPECT_TRUE(std::any_of(views.begin(), views.end(), [&](const proc::SlotView& view) {
      return view.component == name && view.pid == one["pid"] && view.state == proc::ProcState::ready;
    })) << name;
    // stdin, stdout, stderr, control, board, and for the listener the hub: nothing else leaks.
    EXPECT_THAT(stage.events(), Contains(name + " fds " + (name == "listener" ? "0,1,2,3,4,5" : "0,1,2,3,4")));
    EXPECT_EQ(stage.seen(name + " notify no"), 1) << name;
  }
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, AKilledChildIsStartedAgainAndItsCountersGoOn) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t before = stage.component("timer")["pid"];
  ASSERT_EQ(::kill(before, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return stage.component("timer")["restarts"] == 1 && stage.is("timer", "ready"); }));
  const Json timer = stage.component("timer");
  EXPECT_NE(timer["pid"], before);
  EXPECT_EQ(timer["last_exit"], "signal 9");
  EXPECT_TRUE(stage.all_ready());  // the others did not notice
  const auto views = proc::Board::open(stage.path("run/board"))->read();
  const auto view = std::find_if(views.begin(), views.end(), [](const auto& v) { return v.component == "timer"; });
  ASSERT_NE(view, views.end());
  EXPECT_EQ(view->counters[static_cast<std::size_t>(proc::Counter::claims)], 2u);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, Exit78IsHeldUntilAnOperatorSaysRestart) {
  Stage stage;
  stage.does("relay", "refuses");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "held"); }));
  EXPECT_EQ(stage.component("relay")["last_exit"], "exit 78");
  EXPECT_EQ(stage.component("relay")["pid"], 0);
  ASSERT_TRUE(eventually([&] { return stage.is("timer", "ready"); }));
  EXPECT_EQ(stage.component("relay")["restarts"], 0);
  stage.does("relay", "");
  EXPECT_EQ(stage.ask({{"command", "restart"}, {"component", "relay"}})["ok"], true);
  EXPECT_TRUE(eventually([&] { return stage.is("relay", "ready"); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, ACrashLoopIsThrottledAndHealsWithoutAnOperator) {
  Stage stage("restart_delay = \"1ms\"\nrestart_delay_max = \"200ms\"");
  stage.does("timer", "crashes-early");
  stage.start();
  EXPECT_TRUE(eventually([&] {
    const Json timer = stage.component("timer");
    return timer["state"] == "backoff" && timer["why"].get<std::string>().find("throttled") != std::string::npos;
  })) << stage.supervisor().log();
  EXPECT_EQ(stage.component("timer")["last_exit"], "exit 3");
  EXPECT_TRUE(stage.is("relay", "ready"));
  stage.does("timer", "");
  EXPECT_TRUE(eventually([&] { return stage.is("timer", "ready"); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, AProgramThatIsMissingIsTriedAgainAndSaidInTheStatus) {
  Stage stage("restart_delay = \"10ms\"\nrestart_delay_max = \"100ms\"");
  std::filesystem::rename(stage.path("bin/romancy-relay"), stage.path("bin/away"));
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "backoff"); }));
  EXPECT_THAT(stage.component("relay")["why"], HasSubstr("bin/romancy-relay: No such file"));
  std::filesystem::rename(stage.path("bin/away"), stage.path("bin/romancy-relay"));
  EXPECT_TRUE(eventually([&] { return stage.is("relay", "ready"); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, OneComponentIsStoppedStartedAndRestartedByName) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  EXPECT_EQ(stage.ask({{"command", "stop"}, {"component", "orders"}})["ok"], true);  // all processes of that name
  ASSERT_TRUE(eventually([&] { return stage.is("orders.1", "stopped") && stage.is("orders.2", "stopped"); }));
  EXPECT_EQ(stage.component("orders.1")["last_exit"], "exit 0");
  EXPECT_TRUE(stage.is("timer", "ready"));
  EXPECT_EQ(stage.ask({{"command", "start"}, {"component", "orders.1"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.is("orders.1", "ready"); }));
  EXPECT_TRUE(stage.is("orders.2", "stopped"));
  const Json before = stage.component("listener")["pid"];
  EXPECT_EQ(stage.ask({{"command", "restart"}, {"component", "all"}})["ok"], true);
  ASSERT_TRUE(eventually([&] { return stage.all_ready() && stage.component("listener")["pid"] != before; }));
  EXPECT_EQ(stage.ask({{"command", "stop"}})["ok"], true);
  EXPECT_EQ(stage.supervisor().wait(), 0);
}

TEST(Supervisor, TheListenerStopsLast) {
  Stage stage;
  stage.does("orders.2", "slow");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  stage.supervisor().signal(SIGTERM);
  ASSERT_TRUE(eventually([&] {
    return stage.is("timer", "stopped") && stage.is("relay", "stopped") && stage.is("orders.1", "stopped");
  }));
  EXPECT_TRUE(stage.is("orders.2", "draining"));  // it has work in hand
  EXPECT_TRUE(stage.is("listener", "ready"));
  std::filesystem::create_directory(stage.path("go"));  // now it may finish
  EXPECT_EQ(stage.supervisor().wait(), 0);
  for (const auto& name : kAll) {
    EXPECT_GE(stage.place(name + " drained"), 0) << name;
    if (name == "listener") continue;
    EXPECT_LT(stage.place(name + " drained"), stage.place("listener draining")) << name;
  }
}

TEST(Supervisor, SigtermLeavesNoProcessAndNoSocket) {
  Stage stage;
  stage.does("orders.1", "leaves-a-child");
  stage.does("relay", "never-ready");
  stage.does("timer", "refuses");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("orders.1", "ready") && stage.is("timer", "held"); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  expect_no_process(stage);
  EXPECT_EQ(stage.seen("orders.1 child"), 1);
  for (const char* name : {"run/control.sock", "run/hub.sock", "run/board"}) {
    EXPECT_FALSE(std::filesystem::exists(stage.path(name))) << name;
  }
}

TEST(Supervisor, AChildThatDoesNotStopIsKilled) {
  Stage stage("stop_timeout = \"200ms\"");
  stage.does("relay", "deaf");
  stage.does("timer", "freezes");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "ready"); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  expect_no_process(stage);
}

TEST(Supervisor, ASecondSigtermWaitsForNobody) {
  Stage stage("stop_timeout = \"1h\"");
  stage.does("relay", "slow");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  stage.supervisor().signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "draining"); }));
  stage.supervisor().signal(SIGTERM);
  EXPECT_EQ(stage.supervisor().wait(), 0);
  expect_no_process(stage);
}

TEST(Supervisor, ItsOwnKillLeavesNoOrphanAndTheNextOneTakesOver) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto first = stage.pids();
  ASSERT_EQ(first.size(), kAll.size());
  stage.supervisor().kill9();
  expect_no_process(stage);
  EXPECT_TRUE(std::filesystem::exists(stage.path("run/control.sock")));  // stale: to be taken over
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); })) << stage.supervisor().log();
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, TakesTheHubOverFromAListenerThatItsPredecessorLeftBehind) {
  Stage stage("stop_timeout = \"1h\"");
  stage.does("listener", "slow");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t old_listener = stage.component("listener")["pid"];
  stage.supervisor().kill9();
  ASSERT_TRUE(eventually([&] { return stage.seen("listener draining") == 1; }));
  stage.does("listener", "");
  stage.start();  // the old one still has the old hub socket open
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); })) << stage.supervisor().log();
  EXPECT_FALSE(process_gone(old_listener));
  ::kill(old_listener, SIGKILL);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  expect_no_process(stage);
}

TEST(Supervisor, ASecondOneIsRefusedAndTheFirstGoesOn) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  Daemon second(SUPERVISOR, {"--config", stage.config()}, stage.path("second.log"));
  const int status = second.wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  const std::string first = std::to_string(stage.supervisor().pid());
  EXPECT_THAT(second.log(), HasSubstr("another supervisor (pid " + first + ") holds"));
  EXPECT_TRUE(stage.all_ready());
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, AStoppedChildIsReplaced) {
  Stage stage("hang_timeout = \"4s\"");  // far above a beat, for busy machines
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t before = stage.component("orders.1")["pid"];
  ASSERT_EQ(::kill(before, SIGSTOP), 0);  // perhaps before its first beat: it said ready, and that counts
  EXPECT_TRUE(eventually([&] {
    return stage.component("orders.1")["restarts"] == 1 && stage.is("orders.1", "ready");
  }));
  EXPECT_EQ(stage.component("orders.1")["last_exit"], "signal 6");
  EXPECT_TRUE(process_gone(before));
  EXPECT_EQ(stage.component("orders.2")["restarts"], 0);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

// A suspended virtual machine, say. Without care the first tick would find every heart standing still.
TEST(Supervisor, FrozenTogetherWithItsChildrenItKillsNone) {
  Stage stage("hang_timeout = \"2s\"");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto board = proc::Board::open(stage.path("run/board"));
  ASSERT_TRUE(board);
  const auto youngest = [&] {
    std::int64_t age = 1'000'000;
    for (const auto& view : board->read()) age = std::min(age, view.heartbeat_age_ms);
    return age;
  };
  const auto pids = stage.pids();
  stage.supervisor().signal(SIGSTOP);
  for (const pid_t pid : pids) ::kill(pid, SIGSTOP);
  ASSERT_TRUE(eventually([&] { return youngest() > 3000; }));
  stage.supervisor().signal(SIGCONT);
  EXPECT_FALSE(stage.component("timer")["pid"].is_null());  // it answers: its loop has turned, its tick was overdue
  for (const pid_t pid : pids) ::kill(pid, SIGCONT);
  ASSERT_TRUE(eventually([&] { return youngest() < 1500; }));
  ASSERT_TRUE(stage.all_ready());
  for (const auto& name : kAll) EXPECT_EQ(stage.component(name)["restarts"], 0) << name;
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, AChildWithoutASignOfLifeIsReplacedButOneThatIsOnlyNotReadyIsLeftAlone) {
  Stage stage("ready_timeout = \"3s\"\nrestart_delay = \"1ms\"");
  stage.does("timer", "freezes");
  stage.does("relay", "never-ready");  // the database is away, say: it beats
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.component("timer")["restarts"] >= 1; })) << stage.supervisor().log();
  stage.does("timer", "");
  EXPECT_TRUE(eventually([&] { return stage.is("timer", "ready"); }));
  EXPECT_EQ(stage.component("relay")["restarts"], 0);
  EXPECT_TRUE(stage.is("relay", "starting"));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, TheControlSocketRefusesGarbageAndGoesOn) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  for (const char* line : {"", "hello", "[]", "{", "7", "{\"command\":7}", "{\"command\":\"reboot\"}", "{}", "\xff\xfe",
                           "{\"command\":\"restart\"}", "{\"command\":\"restart\",\"component\":\"nobody\"}",
                           "{\"command\":\"restart\",\"component\":[\"timer\"]}"}) {
    const Json answer = Json::parse(stage.raw(line), nullptr, false);
    ASSERT_TRUE(answer.is_object()) << line;
    EXPECT_EQ(answer["ok"], false) << line;
    EXPECT_FALSE(answer["error"].get<std::string>().empty()) << line;
  }
  EXPECT_EQ(stage.raw(std::string(70'000, 'x')), "");                                       // too long: hung up
  EXPECT_THAT(stage.raw(std::string(5'000, '[')), HasSubstr("\"ok\":false"));               // too deep
  EXPECT_THAT(stage.ask({{"command", "stop"}, {"component", "nobody"}})["error"], HasSubstr("all, listener, timer"));
  EXPECT_TRUE(stage.all_ready());
  for (const auto& name : kAll) EXPECT_EQ(stage.component(name)["restarts"], 0);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, TheControlSocketRefusesOtherUsers) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  Stage stage;
  stage.start();
  struct stat status {};
  ASSERT_EQ(::stat(stage.path("run").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0750u);
  ASSERT_EQ(::stat(stage.path("run/control.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660u);
  // Behind those doors there is another: open them and ask as somebody else.
  ASSERT_EQ(::chmod(stage.path("run").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(stage.path("run/control.sock").c_str(), 0666), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
    const std::string answer = stage.raw(R"({"command":"stop"})");
    ::_exit(answer.find("user 65534 has no right") != std::string::npos ? 0 : 1);
  }
  int wait_status = -1;
  ASSERT_EQ(::waitpid(pid, &wait_status, 0), pid);
  EXPECT_EQ(wait_status, 0);
  EXPECT_TRUE(eventually([&] { return stage.all_ready(); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, MigratesFirstAndWaitsForADatabaseThatIsAway) {
  Stage stage("", "[database]\nmigrate = true");
  stage.does("migrate", "75\n1\n0");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); })) << stage.supervisor().log();
  EXPECT_EQ(stage.place("migrate"), 2);
  EXPECT_GT(stage.place("timer fds"), 2);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, ARefusedMigrationIsExit78AndStartsNothing) {
  Stage stage("", "[database]\nmigrate = true");
  stage.does("migrate", "78");
  stage.start_unanswered();
  const int status = stage.supervisor().wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 78) << status;
  EXPECT_EQ(stage.events(), std::vector<std::string>{"migrate 78"});
}

TEST(Supervisor, StopsWhileTheMigrationWaits) {
  Stage stage("", "[database]\nmigrate = true");
  stage.does("migrate", "75\n75\n75\n75\n75\n75\n75\n75\n75\n75\n75");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.seen("migrate 75") >= 1; }));
  EXPECT_EQ(stage.ask({{"command", "restart"}, {"component", "timer"}})["ok"], false);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  EXPECT_EQ(stage.seen("timer"), 0);
}

TEST(Supervisor, WithoutListenerAndRelayNeitherIsStartedNorHeardOf) {
  Stage stage("", "[relay]\nenabled = false", false);
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  EXPECT_TRUE(stage.is("listener", "absent"));
  EXPECT_TRUE(stage.is("relay", "absent"));
  EXPECT_FALSE(std::filesystem::exists(stage.path("run/hub.sock")));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Supervisor, TellsSystemdWhenItIsReadyAndWhenItStops) {
  Stage stage;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  stage.path("notify").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  stage.start();
  char text[256] = {};
  ASSERT_GT(::recv(fd.get(), text, sizeof text - 1, 0), 0);
  EXPECT_THAT(text, HasSubstr("READY=1"));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  bool stopping = false;
  while (!stopping) {
    std::fill(std::begin(text), std::end(text), '\0');
    ASSERT_GT(::recv(fd.get(), text, sizeof text - 1, MSG_DONTWAIT), 0) << "it never said so";
    stopping = std::string(text).starts_with("STOPPING=1");
  }
}

TEST(Supervisor, WrongConfigurationIsExit78AndWrongArgumentsAre64) {
  TempDir dir;
  const auto config = dir.write("wrong.toml", "[supervisor]\nstop_timeout = \"soon\"\n");
  Daemon wrong(SUPERVISOR, {"--config", config}, dir.path() + "/log");
  EXPECT_EQ(WEXITSTATUS(wrong.wait()), 78);
  EXPECT_THAT(wrong.log(), HasSubstr("supervisor.stop_timeout"));
  EXPECT_THAT(wrong.log(), HasSubstr("wrong.toml:2"));
  Daemon usage(SUPERVISOR, {"--confg"}, dir.path() + "/log");
  EXPECT_EQ(WEXITSTATUS(usage.wait()), 64);
}

}  // namespace
}  // namespace romancy::test
