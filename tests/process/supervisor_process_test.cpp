// run_process(), the skeleton of every daemon, started by hand: without a supervisor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/unique_fd.hpp"
#include "tests/process/supervisor_stage.hpp"

namespace romancy::test {
namespace {

using ::testing::HasSubstr;

class ProcessTest : public ::testing::Test {
 protected:
  std::unique_ptr<Daemon> run(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}) {
    environment["ROMANCY_TEST_DIR"] = dir_.path();
    const std::string log = dir_.path() + "/log" + std::to_string(++runs_);
    return std::make_unique<Daemon>(SUPERVISOR_CHILD, std::move(arguments), log, std::move(environment));
  }
  static int code(Daemon& daemon) {
    const int status = daemon.wait();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  TempDir dir_;
  int runs_ = 0;
};

TEST_F(ProcessTest, WorksAloneAndStopsAsAskedWith0) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const auto daemon = run({});
    ASSERT_TRUE(eventually([&] { return daemon->logged("ready"); }));
    daemon->signal(signal);
    EXPECT_EQ(code(*daemon), 0);
    EXPECT_TRUE(daemon->logged("draining"));
  }
}

TEST_F(ProcessTest, HelpAndVersionAreExit0AndHelpNamesEveryOption) {
  const auto help = run({"--help"});
  EXPECT_EQ(code(*help), 0);
  EXPECT_THAT(help->log(), HasSubstr("--config FILE"));
  EXPECT_THAT(help->log(), HasSubstr("stop_timeout"));
  EXPECT_EQ(code(*run({"--version"})), 0);
}

TEST_F(ProcessTest, AWrongCommandLineIsExit64NamingIt) {
  const auto daemon = run({"--confg", "x"});
  EXPECT_EQ(code(*daemon), 64);
  EXPECT_THAT(daemon->log(), HasSubstr("--confg"));
  EXPECT_EQ(code(*run({"--config"})), 64);
  EXPECT_EQ(code(*run({"surplus"})), 64);
}

TEST_F(ProcessTest, AWrongConfigurationIsExit78FromArgumentOrEnvironment) {
  const auto config = dir_.write("wrong.toml", "[batch]\ntimers = 0\n");
  const auto daemon = run({"--config", config});
  EXPECT_EQ(code(*daemon), 78);
  EXPECT_THAT(daemon->log(), HasSubstr("batch.timers = 0: must be 1 to"));
  EXPECT_EQ(code(*run({}, {{"ROMANCY_CONFIG", config}})), 78);
  EXPECT_EQ(code(*run({"--config", dir_.path() + "/absent.toml"})), 78);
}

TEST_F(ProcessTest, AServiceThatFinishesWith78EndsWith78) {
  dir_.write("alone.does", "refuses\n");
  EXPECT_EQ(code(*run({})), 78);
}

TEST_F(ProcessTest, OnceEndsByItself) { EXPECT_EQ(code(*run({"--once"})), 0); }

TEST_F(ProcessTest, ASecondSigtermEndsItAtOnce) {
  dir_.write("alone.does", "slow\n");
  const auto daemon = run({});
  ASSERT_TRUE(eventually([&] { return daemon->logged("ready"); }));
  daemon->signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return daemon->logged("draining"); }));
  EXPECT_TRUE(daemon->running());
  daemon->signal(SIGTERM);
  EXPECT_EQ(code(*daemon), 1);
}

TEST_F(ProcessTest, ADrainThatTakesTooLongEndsWith1) {
  dir_.write("alone.does", "deaf\n");
  const auto daemon = run({"--config", dir_.write("c.toml", "[supervisor]\nstop_timeout = \"100ms\"\n")});
  ASSERT_TRUE(eventually([&] { return daemon->logged("ready"); }));
  daemon->signal(SIGTERM);
  EXPECT_EQ(code(*daemon), 1);
}

TEST_F(ProcessTest, ItDoesNotOutliveAParentThatWasGoneBeforeItBegan) {
  const auto daemon = run({}, {{"ROMANCY_PARENT_PID", "1"}});  // not the parent it has
  EXPECT_EQ(code(*daemon), 0);
  EXPECT_FALSE(daemon->logged("ready"));
}

// The words of the control socket, spoken by hand; fd 3 is put in place by a fork of our own.
TEST_F(ProcessTest, SaysReadyOnItsControlSocketAndDrainsAtTheWordOrAtEof) {
  for (const bool word : {true, false}) {
    int pair[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    UniqueFd ours(pair[0]), theirs(pair[1]);
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (theirs.get() != 3) ::dup2(theirs.get(), 3);
      else ::_exit(99);  // it would keep its close-on-exec
      ::setenv("ROMANCY_CONTROL", "1", 1);
      ::setenv("ROMANCY_TEST_DIR", dir_.path().c_str(), 1);
      ::execl(SUPERVISOR_CHILD, SUPERVISOR_CHILD, nullptr);
      ::_exit(98);
    }
    theirs.reset();
    char text[16] = {};
    ASSERT_EQ(::recv(ours.get(), text, sizeof text, 0), 6);
    EXPECT_STREQ(text, "ready\n");
    if (word) ASSERT_EQ(::send(ours.get(), "drain\n", 6, 0), 6);
    else ours.reset();
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace romancy::test
