// scenario_site: the resident installation of one mode: `scenario_site up MODE`, `scenario_site down MODE`.
//
// `up` forks a keeper that starts the processes and stays, and returns once they work. `down` tells it to stop and hands
// on its verdict: nobody died meanwhile, no invariant was ever broken, everybody ended as asked, and what was recorded fits the
// code when it is replayed.
// The keeper ends by itself when the process that called `up` (ctest) is gone, however that went; its programs die with it.
//
// The keeper is a GoogleTest program of one test, because the parts it is made of report failures to GoogleTest.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/unique_fd.hpp"
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

Mode mode;
UniqueFd caller;       // readable when the process that called `up` has ended
UniqueFd tell_ready;   // `up` waits at its other end
int stop_pipe[2];

std::string log_file() { return site_file(mode) + ".log"; }
std::string verdict_file() { return site_file(mode) + ".verdict"; }

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }  // glibc 2.36 has no header for it here

void on_term(int) {
  const int saved = errno;
  [[maybe_unused]] const auto written = ::write(stop_pipe[1], "t", 1);
  errno = saved;
}

// The longest history of every workflow, as the command line exports it, fits the code that recorded it.
void expect_replays(System& system) {
  Client client;
  client.attach(system.made().conninfo(), system.schema(), system.config());
  const auto rows = client.sql(
      "SELECT DISTINCT ON (workflow_name) instance_id, workflow_name FROM workflow_instances i WHERE status <> 'stuck'"
      " AND EXISTS (SELECT FROM workflow_history h WHERE h.instance_id = i.instance_id)"
      " ORDER BY workflow_name, (SELECT count(*) FROM workflow_history h WHERE h.instance_id = i.instance_id) DESC");
  std::vector<std::string> ids;
  for (int i = 0; i < rows.size(); ++i) ids.push_back(rows.str(i, 0));
  if (ids.empty()) return;  // of the scenarios that were chosen none started a workflow
  EXPECT_EQ(client.replay(ids).out, "");
}

TEST(Site, Keeps) {
  // Nobody dies here, so a session time-out that passes is a machine that was busy. Without notifications a running
  // activity hears of a cancellation with the heartbeat, a third of it.
  auto options = options_of(mode);
  options.session_timeout = mode.hearing == Hearing::notified ? "60s" : "9s";
  options.sample_every = std::chrono::milliseconds(100);
  System system(options);
  prepare(system, mode);
  system.start_all(2);
  ASSERT_TRUE(eventually([&] { return system.count("SELECT count(*) FROM workers WHERE kind = 'resumer'") == 2; }))
      << system.worker(1).log();
  if (options.listen) {
    ASSERT_TRUE(eventually([&] { return system.listener().logged("connection established"); })) << system.listener().log();
  }

  // Written beside, then renamed: who reads it finds all of it.
  std::ofstream(site_file(mode) + ".new") << system.made().conninfo() << "\n" << system.schema() << "\n" << system.config() << "\n" << ::getpid() << "\n";
  std::filesystem::rename(site_file(mode) + ".new", site_file(mode));
  ASSERT_EQ(::write(tell_ready.get(), "r", 1), 1);
  tell_ready.reset();

  pollfd waits[] = {{caller.get(), POLLIN, 0}, {stop_pipe[0], POLLIN, 0}};
  while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
  }
  if (waits[1].revents == 0) return;  // ctest is gone, and soon the database: nobody asks for a verdict
  EXPECT_EQ(system.stop_all(), "");
  EXPECT_EQ(system.count("SELECT count(*) FROM sessions"), 0) << "a session was left behind";
  EXPECT_EQ(system.count("SELECT count(*) FROM instances WHERE session_id IS NOT NULL"), 0) << "a lease was left behind";
  expect_replays(system);
}

int keep() {
  ::setsid();
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd log(::open(log_file().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (::dup2(nothing.get(), 0) < 0 || ::dup2(log.get(), 1) < 0 || ::dup2(log.get(), 2) < 0) return 1;
  if (::pipe2(stop_pipe, O_CLOEXEC) != 0) return 1;
  struct sigaction action {};
  action.sa_handler = on_term;
  if (::sigaction(SIGTERM, &action, nullptr) != 0) return 1;
  int no_arguments = 1;
  char name[] = "scenario_site";
  char* argv[] = {name, nullptr};
  testing::InitGoogleTest(&no_arguments, argv);
  const int code = RUN_ALL_TESTS();
  std::ofstream(verdict_file()) << code;
  return code;
}

int up() {
  std::filesystem::create_directories(std::filesystem::path(site_file(mode)).parent_path());
  std::filesystem::remove(site_file(mode));
  std::filesystem::remove(verdict_file());
  caller = UniqueFd(pidfd(::getppid()));
  int ready[2];
  if (!caller || ::pipe2(ready, O_CLOEXEC) != 0) {
    std::perror("scenario_site");
    return 1;
  }
  tell_ready = UniqueFd(ready[1]);
  const pid_t keeper = ::fork();
  if (keeper < 0) {
    std::perror("fork");
    return 1;
  }
  if (keeper == 0) {
    ::close(ready[0]);
    ::_exit(keep());
  }
  tell_ready.reset();
  char answer = 0;
  if (::read(ready[0], &answer, 1) == 1) return 0;
  std::fprintf(stderr, "the installation did not come up:\n%s\n", text_of(log_file()).c_str());
  return 1;
}

int down() {
  std::ifstream file(site_file(mode));
  std::string line, keeper;
  for (int i = 0; i < 4 && std::getline(file, line); ++i) keeper = line;
  const UniqueFd process(keeper.empty() ? -1 : pidfd(std::atoi(keeper.c_str())));
  if (process) {
    ::kill(std::atoi(keeper.c_str()), SIGTERM);
    pollfd ended{process.get(), POLLIN, 0};
    ::poll(&ended, 1, 120'000);
  }
  std::filesystem::remove(site_file(mode));
  if (text_of(verdict_file()) == "0") return 0;
  std::fprintf(stderr, "the installation's verdict: '%s'\n%s\n", text_of(verdict_file()).c_str(), text_of(log_file()).c_str());
  return 1;
}

}  // namespace
}  // namespace romancy::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: scenario_site up|down MODE\n");
    return 64;
  }
  romancy::test::mode = romancy::test::mode_named(argv[2]);
  return std::strcmp(argv[1], "up") == 0 ? romancy::test::up() : romancy::test::down();
}
