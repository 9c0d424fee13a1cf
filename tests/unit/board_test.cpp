#include "common/proc/board.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>

namespace romancy::proc {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class BoardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/romancy-board-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  [[nodiscard]] std::string path() const { return dir_ + "/board"; }
  std::string dir_;
};

// Runs `body` in a process of its own and returns its wait status.
int in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = -1;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST(Bucket, EveryDurationIsNotAboveItsEdgeAndTheNextNanosecondIsInALaterBucket) {
  for (int bucket = 0; bucket + 1 < 4 * 62; ++bucket) {
    const auto edge = bucket_edge(bucket);
    EXPECT_LE(bucket_of(edge), bucket);
    EXPECT_GT(bucket_of(edge + 1ns), bucket);
    EXPECT_LE(edge, bucket_edge(bucket + 1));
  }
  EXPECT_EQ(bucket_of(0ns), 0);
  EXPECT_EQ(bucket_of(-5ns), 0);
  EXPECT_LT(bucket_of(std::chrono::nanoseconds::max()), kBuckets);
}

TEST(Bucket, TheEdgeIsAtMostNineteenPercentHigh) {
  for (std::int64_t value = 1000; value < 1'000'000'000'000; value += value / 7) {
    const auto edge = bucket_edge(bucket_of(std::chrono::nanoseconds(value))).count();
    EXPECT_GE(edge, value);
    EXPECT_LE(static_cast<double>(edge), 1.19 * static_cast<double>(value));
  }
}

TEST_F(BoardTest, AnotherProcessReadsWhatWasWritten) {
  auto board = Board::create(path());
  ASSERT_TRUE(board) << board.error().text;
  Slot slot = board->slot(2);
  slot.claim("timer");
  slot.state(ProcState::ready);
  slot.live(true);
  slot.beat();
  slot.add(Counter::timers_fired, 3);
  slot.set(Counter::subscribers, 9);
  for (int i = 1; i <= 100; ++i) slot.record(Histogram::timer_lateness, std::chrono::milliseconds(i));

  const auto reader = Board::open(path());
  ASSERT_TRUE(reader) << reader.error().text;
  const auto views = reader->read();
  ASSERT_EQ(views.size(), 1u);
  EXPECT_EQ(views[0].component, "timer");
  EXPECT_EQ(views[0].pid, ::getpid());
  EXPECT_EQ(views[0].state, ProcState::ready);
  EXPECT_TRUE(views[0].live);
  EXPECT_EQ(views[0].beats, 1u);
  EXPECT_EQ(views[0].counters[static_cast<std::size_t>(Counter::timers_fired)], 3u);
  EXPECT_EQ(views[0].counters[static_cast<std::size_t>(Counter::subscribers)], 9u);
  const auto median = views[0].quantile(Histogram::timer_lateness, 0.5);
  EXPECT_GE(median, 50ms);
  EXPECT_LE(median, 60ms);
  EXPECT_GE(views[0].quantile(Histogram::timer_lateness, 1.0), 100ms);
  EXPECT_EQ(views[0].quantile(Histogram::claim_time, 0.5), 0ns);
}

TEST_F(BoardTest, CountersGoOnOverIncarnations) {
  auto board = Board::create(path());
  ASSERT_TRUE(board);
  for (int incarnation = 1; incarnation <= 3; ++incarnation) {
    const int status = in_child([&] {
      auto mine = Board::adopt(UniqueFd(::fcntl(board->fd(), F_DUPFD_CLOEXEC, 0)));
      if (!mine) return 1;
      Slot slot = mine->slot(5);
      slot.claim("orders.1");
      slot.add(Counter::claims, 10);
      slot.record(Histogram::claim_time, 1ms);
      return 0;
    });
    ASSERT_EQ(status, 0);
    const SlotView view = board->read(5);
    EXPECT_EQ(view.component, "orders.1");
    EXPECT_EQ(view.beats, 0u);
    EXPECT_EQ(view.counters[static_cast<std::size_t>(Counter::claims)], 10u * static_cast<unsigned>(incarnation));
  }
}

TEST_F(BoardTest, AWriterKilledInMidWriteNeverBlocksOrConfusesAReader) {
  auto board = Board::create(path());
  ASSERT_TRUE(board);
  std::uint64_t before = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t writer = ::fork();
    if (writer == 0) {
      Slot slot = board->slot(0);
      for (std::uint64_t n = 0;; ++n) {
        slot.claim(n % 2 ? "a-name-that-fills-several-words-of-the-slot-odd" : "even");
        slot.add(Counter::claims);
        slot.record(Histogram::claim_time, std::chrono::nanoseconds(n));
        slot.beat();
      }
    }
    std::uint64_t claims = before;
    while (claims < before + 50) {  // it really writes
      const SlotView view = board->read(0);
      EXPECT_THAT(view.component, AnyOf("", "even", "a-name-that-fills-several-words-of-the-slot-odd"));
      EXPECT_GE(view.counters[static_cast<std::size_t>(Counter::claims)], claims);
      claims = view.counters[static_cast<std::size_t>(Counter::claims)];
    }
    ASSERT_EQ(::kill(writer, SIGKILL), 0);
    ASSERT_EQ(::waitpid(writer, nullptr, 0), writer);
    before = board->read(0).counters[static_cast<std::size_t>(Counter::claims)];
    EXPECT_GE(before, claims);
  }
  board->slot(0).claim("even");  // and the next incarnation has its identity back
  EXPECT_EQ(board->read(0).component, "even");
}

TEST_F(BoardTest, AnotherLayoutIsRefusedSayingWhich) {
  ASSERT_TRUE(Board::create(path()));
  const UniqueFd file(::open(path().c_str(), O_RDWR | O_CLOEXEC));
  const std::uint64_t newer = 99;
  ASSERT_EQ(::pwrite(file.get(), &newer, sizeof newer, 8), static_cast<ssize_t>(sizeof newer));
  const auto board = Board::open(path());
  ASSERT_FALSE(board);
  EXPECT_EQ(board.error().kind, ErrorKind::refuse);
  EXPECT_THAT(board.error().text, HasSubstr("has layout 99, this program understands 2"));
  EXPECT_FALSE(Board::adopt(UniqueFd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0))));
}

TEST_F(BoardTest, AForeignOrShortFileIsRefused) {
  const UniqueFd file(::open(path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_THAT(Board::open(path()).error().text, HasSubstr("not a status board"));
  ASSERT_TRUE(Board::create(path()));
  ASSERT_EQ(::truncate(path().c_str(), 4096), 0);  // its header is whole: reading on would be SIGBUS
  EXPECT_FALSE(Board::open(path()));
  EXPECT_EQ(Board::open(dir_ + "/absent").error().kind, ErrorKind::retry);
}

TEST_F(BoardTest, ANewBoardReplacesTheOldOneAndItsReadersKeepTheOld) {
  auto old = Board::create(path());
  ASSERT_TRUE(old);
  old->slot(0).claim("old");
  ASSERT_TRUE(Board::create(path()));
  EXPECT_EQ(old->read(0).component, "old");
  EXPECT_TRUE(Board::open(path())->read().empty());
}

TEST_F(BoardTest, TheFileIsReadableByItsGroupOnlyWhateverTheUmask) {
  const mode_t before = ::umask(0);
  ASSERT_TRUE(Board::create(path()));
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST_F(BoardTest, AReaderCannotWrite) {
  ASSERT_TRUE(Board::create(path()));
  auto reader = Board::open(path());
  ASSERT_TRUE(reader);
  reader->slot(0).claim("intruder");  // nobody's slot: nothing happens
  EXPECT_TRUE(reader->read().empty());
}

TEST_F(BoardTest, AFileThatMayNotGrowIsRefusedAndLeavesNothing) {
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) return 2;
    return Board::create(path()) ? 1 : 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(dir_));
}

TEST_F(BoardTest, AFullTmpfsIsRefusedAndLeavesNothing) {
  const int status = in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", dir_.c_str(), "tmpfs", 0, "size=64k") != 0) {
      return 77;
    }
    const auto board = Board::create(path());
    if (board) return 1;
    return board.error().text.find("No space left") != std::string::npos && std::filesystem::is_empty(dir_) ? 0 : 2;
  });
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no right to mount a tmpfs here";
  EXPECT_EQ(status, 0);
}

TEST(Board, APrivateBoardCountsForItsOwnProcess) {
  Board board = Board::private_one();
  Slot slot = board.slot(0);
  slot.claim(std::string(100, 'x'));
  slot.add(Counter::replays);
  EXPECT_EQ(board.read(0).component.size(), 47u);
  EXPECT_EQ(board.read(0).counters[static_cast<std::size_t>(Counter::replays)], 1u);
  EXPECT_EQ(board.fd(), -1);
  board.slot(1).add(Counter::replays);  // there is no second slot
  Slot().beat();
}

TEST(Board, EveryCounterAndHistogramHasAName) {
  for (int i = 0; i < static_cast<int>(Counter::count_); ++i) {
    EXPECT_FALSE(counter_name(static_cast<Counter>(i)).empty());
  }
  for (int i = 0; i < static_cast<int>(Histogram::count_); ++i) {
    EXPECT_FALSE(histogram_name(static_cast<Histogram>(i)).empty());
  }
}

// An upgrade starts the next listener beside the one that runs, in the same slot.
TEST_F(BoardTest, TheOneThatClaimedASlotLastSaysHowItIsAndBothMayCount) {
  auto board = Board::create(path());
  ASSERT_TRUE(board);
  Slot slot = board->slot(0);
  slot.claim("listener");
  slot.add(Counter::notifications);
  const pid_t child = ::fork();
  if (child == 0) {  // the next one
    Slot next = board->slot(0);
    next.claim("listener");
    next.add(Counter::notifications);
    next.state(ProcState::ready);
    next.live(true);
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  slot.state(ProcState::draining);
  slot.live(false);
  slot.set(Counter::subscribers, 7);
  slot.set(Counter::notify_queue_percent, 60);
  slot.trouble(Trouble::pooler);
  slot.add(Counter::notifications);
  SlotView view = board->read(0);
  EXPECT_EQ(view.pid, child);
  EXPECT_EQ(view.state, ProcState::ready);
  EXPECT_TRUE(view.live);
  EXPECT_EQ(view.counters[static_cast<std::size_t>(Counter::subscribers)], 0u);
  EXPECT_EQ(view.counters[static_cast<std::size_t>(Counter::notify_queue_percent)], 0u);
  EXPECT_EQ(view.trouble, Trouble::none);
  EXPECT_EQ(view.counters[static_cast<std::size_t>(Counter::notifications)], 3u);
  board->bury(0, ::getpid());  // not the owner
  EXPECT_TRUE(board->read(0).live);
  board->bury(0, child);
  view = board->read(0);
  EXPECT_FALSE(view.live);
  EXPECT_EQ(view.state, ProcState::absent);
  EXPECT_EQ(view.counters[static_cast<std::size_t>(Counter::notifications)], 3u);
}

// Beside the next one it still says whether it hears and lives; when that one dies first it says all of it again.
TEST_F(BoardTest, TheFormerOnesWordStandsBesideAndItsSlotCanBeGivenBack) {
  auto board = Board::create(path());
  ASSERT_TRUE(board);
  Slot slot = board->slot(0);
  slot.claim("listener");
  slot.state(ProcState::ready);
  slot.live(true);
  EXPECT_EQ(in_child([&] {
    board->slot(0).claim("listener");
    return 0;
  }), 0);
  SlotView view = board->read(0);
  const pid_t next = static_cast<pid_t>(view.pid);
  EXPECT_NE(next, ::getpid());
  EXPECT_FALSE(view.live);
  EXPECT_EQ(view.former_pid, ::getpid());
  EXPECT_TRUE(view.former_live);
  slot.live(false);
  EXPECT_FALSE(board->read(0).former_live);
  slot.live(true);
  slot.beat();
  EXPECT_EQ(board->read(0).beats, 0u) << "not the next one's heart";
  EXPECT_LT(board->read(0).former_heartbeat_age_ms, 60'000);
  board->give_back(0, next);  // not the former one
  EXPECT_EQ(board->read(0).pid, next);
  board->bury(0, next);
  board->give_back(0, ::getpid());
  view = board->read(0);
  EXPECT_EQ(view.pid, ::getpid());
  EXPECT_EQ(view.component, "listener");
  EXPECT_EQ(view.state, ProcState::ready);
  EXPECT_TRUE(view.live);
  slot.live(false);
  slot.beat();
  EXPECT_FALSE(board->read(0).live);
  EXPECT_EQ(board->read(0).beats, 2u);
}

TEST_F(BoardTest, IsTakenOverWithItsCountersAndMadeAnewWhenItDoesNotFit) {
  const std::string where = path();
  {
    auto board = Board::take_over(where);
    ASSERT_TRUE(board);
    Slot slot = board->slot(3);
    slot.claim("orders.1");
    slot.add(Counter::claims, 5);
  }
  auto next = Board::take_over(where);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->name(3), "orders.1");
  EXPECT_EQ(next->read(3).counters[static_cast<std::size_t>(Counter::claims)], 5u);
  next->clear(3);
  EXPECT_EQ(next->name(3), "");
  EXPECT_EQ(next->read(3).counters[static_cast<std::size_t>(Counter::claims)], 0u);
  ASSERT_EQ(::truncate(where.c_str(), 100), 0);
  auto fresh = Board::take_over(where);
  ASSERT_TRUE(fresh);
  fresh->slot(0).claim("timer");
  EXPECT_EQ(fresh->name(0), "timer");
}

}  // namespace
}  // namespace romancy::proc
