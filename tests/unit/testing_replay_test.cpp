// Recorded histories against the code of today (romancy/testing.hpp).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <romancy/romancy.hpp>
#include <romancy/testing.hpp>

namespace helpers {
namespace {

using namespace std::chrono_literals;
using romancy::Context, romancy::Task;
using romancy::testing::Environment, romancy::testing::replay_directory, romancy::testing::replay_file, romancy::testing::replay_text;
using ::testing::HasSubstr;

const auto act = romancy::activity("act", [](romancy::Attempt&, int n) { return n + 1; });
const auto recorded = romancy::workflow("trip", [](Context& ctx, int n) -> Task<int> {
  const int one = co_await ctx.run(act, n);
  co_await ctx.sleep(1h);
  const int two = co_await ctx.receive<int>("more");
  co_return one + two;
});
// A wait that is new, in the place of the sleep.
const auto changed = romancy::workflow("trip", [](Context& ctx, int n) -> Task<int> {
  const int one = co_await ctx.run(act, n);
  const int two = co_await ctx.receive<int>("more");
  co_return one + two;
});
const auto longer = romancy::workflow("trip", [](Context& ctx, int n) -> Task<int> {
  const int one = co_await ctx.run(act, n);
  co_await ctx.sleep(1h);
  const int two = co_await ctx.receive<int>("more");
  co_await ctx.sleep(1h);
  co_return one + two;
});

std::string history_after(std::chrono::microseconds time) {
  Environment env({recorded}, {act});
  env.start(recorded, 1, "t-1");
  env.at(2h).send("more", 5);
  env.run_for(time);
  return env.history().json();
}

class Folder {
 public:
  Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "romancy-replay-XXXXXX").string();
    path_ = ::mkdtemp(path.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name) << text;
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

TEST(TestingReplay, TheSameCodeAgreesWithWhatItRecordedAtEveryStage) {
  for (const auto time : {0h, 1h, 2h}) {
    const auto replay = replay_text(history_after(time), {recorded}, {act});
    EXPECT_TRUE(replay.ok) << replay.text;
    EXPECT_EQ(replay.instance_id, "t-1");
    EXPECT_EQ(replay.workflow, "trip");
  }
}

TEST(TestingReplay, TheFirstDifferenceIsNamed) {
  const auto replay = replay_text(history_after(2h), {changed}, {act});
  EXPECT_FALSE(replay);
  EXPECT_EQ(replay.seq, 3);
  EXPECT_EQ(replay.op, 2);
  EXPECT_EQ(replay.recorded, "timer_started 'sleep' (operation 2)");
  EXPECT_EQ(replay.now, "the code did wait_started 'more' (operation 2)");
  EXPECT_EQ(replay.text, "mismatch: history has timer_started 'sleep' (operation 2) at seq 3, but the code did wait_started 'more' (operation 2)");
}

TEST(TestingReplay, AChangeBehindWhatIsRecordedIsNoDifference) {
  EXPECT_TRUE(replay_text(history_after(1h), {longer}, {act}));
  const auto ended = replay_text(history_after(2h), {longer}, {act});
  EXPECT_FALSE(ended);
  EXPECT_THAT(ended.text, HasSubstr("history has completed at seq 7, but the code did timer_started 'sleep' (operation 4)"));
}

TEST(TestingReplay, TheValuesOfALaterGenerationAreThoseOfThatGeneration) {
  const auto dice = romancy::workflow("dice", [](Context& ctx, int) -> Task<int> {
    const bool high = ctx.random() % 2 == 0;
    if (high) co_await ctx.sleep(1s);
    if (ctx.generation() == 9) co_return 1;
    ctx.recur(0);
  });
  Environment env({dice});
  env.start(dice, 0, "d");
  for (int i = 0; i < 10; ++i) {
    const auto replay = replay_text(env.history().json(), {dice});
    EXPECT_TRUE(replay.ok) << replay.text;
    env.run_for(1s);
  }
  env.run();
  EXPECT_TRUE(replay_text(env.history().json(), {dice}));
  EXPECT_EQ(env.history().generation, 9);
}

TEST(TestingReplay, AFolderIsReplayedByName) {
  const Folder folder;
  folder.write("b.json", history_after(1h));
  folder.write("a.json", history_after(2h));
  folder.write("notes.txt", "not a history");
  const auto good = replay_directory(folder.path(), {recorded}, {act});
  EXPECT_TRUE(good.ok()) << good.text();
  EXPECT_EQ(good.all.size(), 2u);
  const auto bad = replay_directory(folder.path(), {changed}, {act});
  EXPECT_FALSE(bad.ok());
  EXPECT_THAT(bad.text(), HasSubstr(folder.path() + "/a.json: instance 't-1': mismatch: history has timer_started 'sleep'"));
}

TEST(TestingReplay, ABadFileIsNamedAndWhereItIsBad) {
  const Folder folder;
  EXPECT_THAT(replay_directory(folder.path(), {recorded}).text(), HasSubstr(folder.path() + ": there is no *.json in this folder"));
  EXPECT_THAT(replay_directory(folder.path() + "/no", {recorded}).text(), HasSubstr("/no: No such file"));
  EXPECT_EQ(replay_file(folder.path() + "/no.json", {recorded}).text, "the file cannot be read");
  const auto said = [&](const std::string& text) {
    const auto replay = replay_file(folder.write("x.json", text), {recorded});
    EXPECT_FALSE(replay.ok);
    EXPECT_EQ(replay.source, folder.path() + "/x.json");
    return replay.text;
  };
  const std::string good = history_after(1h);
  const auto with = [&](const std::string& old, const std::string& by) {
    std::string text = good;
    text.replace(text.find(old), old.size(), by);
    return text;
  };
  EXPECT_THAT(said("{\n\"a\": 1,,\n}"), HasSubstr("line 2"));
  EXPECT_THAT(said("[]"), HasSubstr("format: this is no file that `romancy history export` wrote"));
  EXPECT_EQ(said(with("\"version\":1", "\"version\":2")), "version: 2 is newer than this program knows");
  EXPECT_EQ(said(with("\"workflow\":\"trip\"", "\"workflow\":\"walk\"")), "workflow: 'walk' is not among those that were given");
  EXPECT_EQ(said(with("timer_started", "timer_begun")), "history[2].kind: 'timer_begun' is no kind of event");
  EXPECT_EQ(said(with("\"seq\":2", "\"seq\":5")), "history[1].seq: 5 where 2 is expected");
  EXPECT_EQ(said(with("\"seq\":2", "\"seq\":\"2\"")), "history[1].seq: an integer is expected here");
  EXPECT_EQ(said(with("\"workflow\":\"trip\",", "")), "workflow: a text is expected here");
}

}  // namespace
}  // namespace helpers
