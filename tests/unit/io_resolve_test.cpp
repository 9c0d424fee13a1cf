#include "common/io/resolve.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "tests/unit/io_until.hpp"

namespace romancy::io {
namespace {

TEST(Resolve, ANameBecomesNumericAddressesOnTheLoopAndNeverFromWithin) {
  Loop loop;
  std::optional<Result<Addresses>> answer;
  const Resolve lookup(loop, "localhost", [&](Result<Addresses> found) { answer = std::move(found); });
  EXPECT_FALSE(answer);
  run_until(loop, [&] { return answer.has_value(); });
  ASSERT_TRUE(*answer) << answer->error().text;
  EXPECT_TRUE(std::find((*answer)->begin(), (*answer)->end(), "127.0.0.1") != (*answer)->end() ||
              std::find((*answer)->begin(), (*answer)->end(), "::1") != (*answer)->end());
  EXPECT_EQ(**answer, resolve_within("localhost", std::chrono::minutes(1)).value());
}

TEST(Resolve, ANameThatIsNoneIsTryAgainAndSaysIt) {
  Loop loop;
  std::optional<Result<Addresses>> answer;
  const Resolve lookup(loop, "no such name", [&](Result<Addresses> found) { answer = std::move(found); });
  run_until(loop, [&] { return answer.has_value(); });
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().kind, ErrorKind::retry);
  EXPECT_EQ(answer->error().text.rfind("look up no such name: ", 0), 0u) << answer->error().text;
}

TEST(Resolve, OneThatIsDestroyedCallsNobodyAndMayOutliveItsLoop) {
  for (int i = 0; i < 20; ++i) {
    Loop loop;
    int calls = 0;
    {
      const Resolve lookup(loop, "localhost", [&](const Result<Addresses>&) { ++calls; });
    }
    int turns = 0;
    run_until(loop, [&] { return ++turns > 3; });
    EXPECT_EQ(calls, 0);
  }
}

TEST(Resolve, MayBeDestroyedFromWithinItsCallback) {
  Loop loop;
  std::optional<Resolve> lookup;
  bool called = false;
  lookup.emplace(loop, "localhost", [&](const Result<Addresses>&) {
    lookup.reset();
    called = true;
  });
  run_until(loop, [&] { return called; });
  EXPECT_FALSE(lookup);
}

TEST(Resolve, WhoMayWaitHearsAtOnceOfANameThatIsNone) {
  const auto found = resolve_within("no such name", std::chrono::minutes(1));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind, ErrorKind::retry);
  EXPECT_EQ(found.error().text.rfind("look up no such name: ", 0), 0u) << found.error().text;
}

int threads() {
  int count = 0;
  for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

const int threads_at_start = threads();  // a sanitizer may have one

// A nameserver that only listens, until it is told to say of every name that there is none.
class Nameserver {
 public:
  explicit Nameserver(const std::string& address) : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_port = htons(53);
    ::inet_pton(AF_INET, address.c_str(), &here.sin_addr);
    up_ = ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&here), sizeof here) == 0;
  }
  [[nodiscard]] bool up() const { return up_; }
  void deny() const {
    for (;;) {
      std::array<char, 512> question;
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t got = ::recvfrom(fd_.get(), question.data(), question.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 12) return;
      question[2] = '\x81';
      question[3] = '\x83';  // NXDOMAIN
      ::sendto(fd_.get(), question.data(), static_cast<std::size_t>(got), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }

 private:
  UniqueFd fd_;
  bool up_ = false;
};

constexpr int kNotTested = 100;

// In a process of its own, with a resolver that hangs.
int thirty_threads_ask_a_resolver_that_hangs() {
  const std::string address = "127.53." + std::to_string(::getpid() / 250 % 250 + 1) + "." + std::to_string(::getpid() % 250 + 1);
  char file[] = "/tmp/romancy-resolv-XXXXXX";
  const UniqueFd conf(::mkstemp(file));
  const std::string text = "nameserver " + address + "\noptions timeout:30 attempts:1\n";
  if (::write(conf.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return 1;
  const bool apart = ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                     ::mount(file, "/etc/resolv.conf", nullptr, MS_BIND, nullptr) == 0;
  ::unlink(file);
  const Nameserver nameserver(address);
  if (!apart || !nameserver.up()) return kNotTested;
  const int before = threads();
  std::atomic<int> late = 0, crowded = 0;
  {
    std::vector<std::jthread> askers;
    for (int i = 0; i < 30; ++i) {
      askers.emplace_back([&] {
        const auto found = resolve_within("db.romancy.example", std::chrono::milliseconds(200));
        if (found || found.error().kind != ErrorKind::retry) return;
        if (found.error().text == "db.romancy.example: the name was not looked up within 200 ms") ++late;
        if (found.error().text == "look up db.romancy.example: 8 look-ups are not answered yet") ++crowded;
      });
    }
  }
  // Nobody waited for the resolver, and no more threads are left to it than there are places.
  if (late != kMostLookups || crowded != 30 - kMostLookups) return 2;
  if (threads() > before + kMostLookups) return 3;
  // The loop has places of its own.
  {
    Loop loop;
    std::optional<Result<Addresses>> answer;
    const Resolve lookup(loop, "127.0.0.1", [&](Result<Addresses> found) { answer = std::move(found); });
    run_until(loop, [&] { return answer.has_value(); });
    if (!*answer) return 4;
  }
  // It answers at last: they end, and there is room again.
  for (int i = 0; threads() > before; ++i) {
    if (i == 10'000) return 5;
    nameserver.deny();
    ::usleep(5000);  // between two looks at a fact
  }
  return resolve_within("127.0.0.1", std::chrono::minutes(1)) ? 0 : 6;
}

TEST(Resolve, WhoMayWaitWaitsNoLongerThanItsTimeAndThreadsDoNotPileUpBehindAResolverThatHangs) {
  while (threads() > threads_at_start) ::usleep(1000);  // those of the tests before: fork() takes this one along alone
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(thirty_threads_ask_a_resolver_that_hangs());
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNotTested) GTEST_SKIP() << "NOT TESTED: mount namespaces, or port 53, cannot be had here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace romancy::io
