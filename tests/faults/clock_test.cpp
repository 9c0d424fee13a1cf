// C1, C2: clocks. Only the database's clock decides when something is due, and no process trusts its own wall clock with more
// than a line of the log.
#include <gtest/gtest.h>
#include <signal.h>

#include <ctime>

#include "tests/support/site.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

// wallclock.cpp, preloaded: the file says by how many seconds the wall clock is wrong.
class Clock {
 public:
  explicit Clock(long seconds) {
    set(seconds);
    shell("chmod 755 " + dir_.path());  // also for the user postgres
  }
  void set(long seconds) const { dir_.write("seconds", std::to_string(seconds) + "\n"); }
  [[nodiscard]] std::string file() const { return dir_.path() + "/seconds"; }

 private:
  TempDir dir_;
};

// The suite itself, all of it, in another time than the server.
void suite_at(const char* id, const char* fault, long seconds) {
  const Clock clock(seconds);
  run({.id = id, .fault = fault, .bound = 1s,
       .inject = [](Site& s) {
         const auto until = s.now_us() + std::chrono::microseconds(lasting(0s, 120s)).count();
         do s.expect_progress(100);
         while (s.now_us() < until && !testing::Test::HasFailure());
       },
       .proof = [](Site& s) {
         // The lines of its log are of that time.
         const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
         std::tm utc{};
         ::gmtime_r(&now, &utc);
         char hour[32];
         std::strftime(hour, sizeof hour, "%Y-%m-%dT%H", &utc);
         return s.log().find(std::string("\n") + hour) == std::string::npos ? std::string("timers came neither early nor late; the log is of another time") : "";
       },
       .bound_text = "no difference",
       .options = {.environment = {{"LD_PRELOAD", ROMANCY_WALLCLOCK}, {"WALLCLOCK_FILE", clock.file()}}}});
}

TEST(FaultsSmoke, C1_SuiteTwoHoursAhead) { suite_at("C1a", "the suite's clock is 2 h ahead of the server's", 7200); }
TEST(Faults, C1_SuiteTwoHoursBehind) { suite_at("C1b", "the suite's clock is 2 h behind the server's", -7200); }
TEST(Faults, C1_SuiteADayAhead) { suite_at("C1c", "the suite's clock is a day ahead of the server's", 86400); }

// One of two workers, while the other one is right.
TEST(Faults, C1_OneWorkerJumps) {
  const auto clock = std::make_shared<Clock>(0);
  run({.id = "C1d", .fault = "a worker's clock jumps 2 h ahead, then 2 h behind", .bound = 1s,
       .inject = [clock](Site& s) {
         for (const long seconds : {7200L, -7200L, 0L}) {
           clock->set(seconds);
           s.expect_progress(40);
         }
       },
       .proof = [](Site& s) { return s.restarts("worker.1") == 0 && s.counter("worker.1", "reconnects") == 0 ? std::string("no difference") : ""; },
       .bound_text = "no difference",
       .options = {.wrap = [clock](const std::string& dir, const std::string& worker) {
                     return "\"/bin/sh\", \"-c\", \"if mkdir " + dir + "/first 2>/dev/null; then export WALLCLOCK_FILE=" + clock->file() +
                            " LD_PRELOAD=" ROMANCY_WALLCLOCK "; fi; exec " + worker + "\"";
                   }}});
}

// The server's own clock jumps: what is due by it is due. (Backwards, what was to be due waits until it is so again: that is
// what "by the database's clock" says, and it is no fault of ours to be tested.)
TEST(Faults, C1_ServerADayAhead) {
  const auto clock = std::make_shared<Clock>(0);
  SiteOptions options;
  options.server.before = "env LD_PRELOAD=" ROMANCY_WALLCLOCK " WALLCLOCK_FILE=" + clock->file();
  auto jumped = std::make_shared<std::int64_t>(0);
  run({.id = "C1e", .fault = "the server's clock jumps a day ahead", .bound = 15s,
       .inject = [=](Site& s) {
         const auto before = s.now_us();
         clock->set(86400);
         EXPECT_TRUE(eventually([&] { return s.now_us() > before + 80'000'000'000; }));
         *jumped = (s.now_us() - before) / 3'600'000'000;
       },
       .heal = [](Site&) {},
       .proof = [=](Site&) { return *jumped >= 23 ? "jumped " + std::to_string(*jumped) + " h: every session had expired, and began anew" : ""; },
       .options = options});
}

// A host that is suspended: everybody wakes up at once, later than sessions live. In ten minutes 13,000 workflows have come in.
TEST(Faults, C2_Suspended) {
  const auto time = lasting(12s, 600s);
  const std::string fault = "the whole suite stands still for " + std::to_string(time.count()) + " s, longer than a session lives";
  run({.id = "C2", .fault = fault.c_str(), .bound = real_length() ? 60s : 5s,
       .inject = [time](Site& s) {
         auto all = s.pids();
         for (const auto& [name, pid] : all) ::kill(pid, SIGSTOP);
         s.supervisor().signal(SIGSTOP);
         const auto until = s.now_us() + std::chrono::microseconds(time).count();
         EXPECT_TRUE(eventually([&] { return s.now_us() >= until; }, time + 60s));
         s.supervisor().signal(SIGCONT);
         for (const auto& [name, pid] : all) ::kill(pid, SIGCONT);
       },
       .heal = [](Site&) {},
       .proof = [](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return std::string("nobody was killed for it; new sessions, one catching up");
       },
       .options = {.supervisor = "hang_timeout = \"3s\"\n"}});
}

}  // namespace
}  // namespace romancy::test
