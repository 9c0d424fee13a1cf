#include <fcntl.h>
#include <sys/socket.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "common/base/backoff.hpp"
#include "common/base/check.hpp"
#include "common/base/ids.hpp"
#include "common/base/json.hpp"
#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"

namespace romancy {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::StartsWith;

// What one log call writes.
template <class Call>
std::string logged(Call call) {
  testing::internal::CaptureStderr();
  call();
  return testing::internal::GetCapturedStderr();
}

TEST(Backoff, DelaysDoubleUpToTheLongestAndAreJitteredByHalf) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Backoff backoff(100ms, 1000ms, seed);
    for (const auto full : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
      const auto delay = backoff.next();
      EXPECT_GE(delay, full / 2);
      EXPECT_LE(delay, full);
    }
  }
}

TEST(Backoff, StaysAtTheLongestForEver) {
  Backoff backoff(1ms, std::chrono::milliseconds::max(), 1);
  for (int i = 0; i < 10'000; ++i) EXPECT_GE(backoff.next(), 0ms);
  EXPECT_GE(backoff.next(), std::chrono::milliseconds::max() / 2);
}

TEST(Backoff, StartsOverAfterReset) {
  Backoff backoff(100ms, 1000ms, 1);
  for (int i = 0; i < 5; ++i) backoff.next();
  backoff.reset();
  EXPECT_EQ(backoff.tries(), 0);
  EXPECT_LE(backoff.next(), 100ms);
}

TEST(Backoff, OfZeroIsZero) { EXPECT_EQ(Backoff(0ms, 0ms, 1).next(), 0ms); }

TEST(Ids, SessionIdsArePositiveAndDiffer) {
  std::set<std::int64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto id = random_session_id();
    EXPECT_GT(id, 0);
    EXPECT_TRUE(seen.insert(id).second);
  }
}

TEST(Ids, UuidsAreVersionFourInLowerCase) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto id = random_uuid();
    EXPECT_THAT(id, MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
    EXPECT_TRUE(seen.insert(id).second);
  }
}

TEST(Json, RoundTripKeepsTheValue) {
  const auto value = parse_json(R"({"a":[1,-2,3.5,true,null,"\u00e4\n\"]}"]})", "input");
  ASSERT_TRUE(value) << value.error().text;
  EXPECT_EQ(*parse_json(dump_json(*value), "input"), *value);
}

TEST(Json, RefusalNamesWhatAndWhere) {
  const auto value = parse_json("{\"a\":}", "payload of order-1");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().kind, ErrorKind::refuse);
  EXPECT_THAT(value.error().text, StartsWith("payload of order-1: not JSON: parse error at line 1, column 6"));
}

TEST(Json, RefusalNeverQuotesForeignBytesRaw) {
  const auto value = parse_json("{\"\xff\n\x1b[31m", "input");
  ASSERT_FALSE(value);
  for (const char c : value.error().text) EXPECT_TRUE(c >= 0x20 && c <= 0x7e) << value.error().text;
}

TEST(Json, TooLongIsRefused) {
  EXPECT_TRUE(parse_json("[1,2]", "input", {.bytes = 5}));
  const auto value = parse_json("[1,23]", "input", {.bytes = 5});
  ASSERT_FALSE(value);
  EXPECT_THAT(value.error().text, HasSubstr("6 bytes, at most 5"));
}

TEST(Json, DepthIsCappedBeforeAnythingIsBuilt) {
  const auto nested = [](int levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_TRUE(parse_json(nested(64), "input"));
  EXPECT_FALSE(parse_json(nested(65), "input"));
  const auto value = parse_json(std::string(4'000'000, '['), "input");
  ASSERT_FALSE(value);
  EXPECT_THAT(value.error().text, HasSubstr("deeper than 64"));
}

TEST(Json, BracketsInsideStringsDoNotCountAsDepth) {
  const auto value = parse_json(R"(["[[[[[[", "\"{{{{", "\\"])", "input", {.depth = 1});
  ASSERT_TRUE(value) << value.error().text;
  EXPECT_EQ((*value)[2], "\\");
}

TEST(Json, InvalidUtf8IsRefusedOnTheWayInAndReplacedOnTheWayOut) {
  EXPECT_FALSE(parse_json("\"\xc3\x28\"", "input"));
  EXPECT_EQ(dump_json(Json("a\xff" "b")), "\"a\xef\xbf\xbd" "b\"");
}

TEST(Json, NumbersOutOfRangeAreRefusedNotThrown) { EXPECT_FALSE(parse_json("1e999", "input")); }

TEST(Log, LineHasTimeLevelComponentEventAndFields) {
  log::set_up("timer", log::Level::info);
  const auto line = logged([] { log::warn("late", {{"by_ms", 12}, {"id", "sleep:3"}, {"ok", false}}); });
  EXPECT_THAT(line, MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z "
                                 "warn timer: late by_ms=12 id=sleep:3 ok=false\n"));
}

TEST(Log, NobodyCanForgeALineOrAField) {
  log::set_up("timer", log::Level::info);
  const std::string evil = "x\n2026-01-01 error all: gone\r\t\x1b[2J a=\"b\\\"";
  const auto line = logged([&] { log::info("event\nof two lines", {{"name", evil}, {"empty", ""}, {"pair", "a=b"}}); });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, HasSubstr(R"(event\nof two lines name="x\n2026-01-01 error all: gone\r\t\x1b[2J a=\"b\\\"")"));
  EXPECT_THAT(line, EndsWith(" empty=\"\" pair=\"a=b\"\n"));
}

TEST(Log, LevelHidesWhatIsBelowAndCanBeChanged) {
  log::set_up("timer", log::Level::warn);
  EXPECT_THAT(logged([] { log::info("quiet"); }), IsEmpty());
  log::set_up("timer", log::Level::debug);
  EXPECT_THAT(logged([] { log::debug("loud"); }), HasSubstr("debug timer: loud"));
}

// Standard error is something else while this lives.
class Redirected {
 public:
  explicit Redirected(int to) : before_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) { ::dup2(to, STDERR_FILENO); }
  ~Redirected() { ::dup2(before_.get(), STDERR_FILENO); }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;

 private:
  UniqueFd before_;
};

// All that stands in a descriptor now.
std::string all_of(int fd) {
  std::string text;
  char buffer[65536];
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

// With a reader that has stopped each of these writes would wait for ever, and the test with it.
void never_waits(int write_end, int read_end) {
  log::set_up("listener", log::Level::info);
  const std::string filling(1000, 'x');
  const auto before = log::dropped();
  std::string read;
  {
    const Redirected stderr_is(write_end);
    for (int i = 0; i < 2000; ++i) log::info("event", {{"number", i}, {"filling", filling}});
    read = all_of(read_end);
    log::info("the reader is back");
    read += all_of(read_end);
  }
  const auto dropped = log::dropped() - before;
  EXPECT_GT(dropped, 0u);
  const bool told = read.find("warn listener: log lines dropped lines=" + std::to_string(dropped) + "\n") != read.npos;
  EXPECT_TRUE(told) << read.substr(read.size() - 200);
  EXPECT_TRUE(read.ends_with("info listener: the reader is back\n"));
  // Whole lines only: each begins with its time and holds one event.
  std::size_t lines = 0;
  for (std::size_t at = 0; at < read.size(); at = read.find('\n', at) + 1, ++lines) {
    EXPECT_EQ(read.compare(at, 2, "20"), 0) << read.substr(at, 60);
  }
  EXPECT_EQ(lines, 2000 - dropped + 2);
  EXPECT_EQ(::fcntl(write_end, F_GETFL) & O_NONBLOCK, 0) << "the open file is shared with others";
}

TEST(Log, AReaderThatHasStoppedDoesNotStopTheWriterAndHearsHowManyLinesItMissed) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd out(ends[0]), in(ends[1]);
  never_waits(in.get(), out.get());
}

TEST(Log, AStoppedReaderOfASocketDoesNotStopTheWriterEither) {  // the journal's kind of standard error
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd out(ends[0]), in(ends[1]);
  never_waits(in.get(), out.get());
}

TEST(Log, AFullDiskCostsLinesAndNothingElse) {
  log::set_up("listener", log::Level::info);
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full);
  const auto before = log::dropped();
  {
    const Redirected stderr_is(full.get());
    for (int i = 0; i < 10; ++i) log::info("event");
  }
  EXPECT_EQ(log::dropped() - before, 10u);
  EXPECT_THAT(logged([] { log::info("space again"); }), HasSubstr("log lines dropped lines=10\n"));
}

TEST(CheckDeathTest, ABrokenInvariantSaysWhatAndAborts) {
  check(true, "fine");
  EXPECT_DEATH(check(false, "the moon is up", "it is new"), "what=\"the moon is up\" detail=\"it is new\"");
}

TEST(Error, WithinSaysItFromFurtherAwayAndKeepsTheRest) {
  const Error error = std::move(Error{ErrorKind::retry, "connection lost", "57P01"}).within("claim");
  EXPECT_EQ(error.text, "claim: connection lost");
  EXPECT_EQ(error.kind, ErrorKind::retry);
  EXPECT_EQ(error.sqlstate, "57P01");
}

TEST(UniqueFd, ClosesOnceAndMoves) {
  UniqueFd a(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fd = a.get();
  UniqueFd b(std::move(a));
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): what a move leaves behind is what this asks
  EXPECT_EQ(b.get(), fd);
  b.reset();
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

}  // namespace
}  // namespace romancy
