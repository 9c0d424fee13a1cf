#include "common/proc/config_change.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "common/proc/config_table.hpp"

namespace romancy::proc {
namespace {

unsigned readers_of(const std::string& toml, const std::string& key) {
  const auto after = parse_config(toml, "after.toml");
  EXPECT_TRUE(after) << after.error().text;
  for (const auto& change : config_changes(default_config(), *after)) {
    if (change.key == key) return change.readers;
  }
  ADD_FAILURE() << key << " has not changed";
  return 0;
}

TEST(ConfigChange, NothingButWhatDiffers) {
  const auto same = parse_config("[poll]\ntimer_interval = \"1s\"\n[[resumer]]\nname = \"a\"\ncommand = [\"/a\"]\n", "x");
  ASSERT_TRUE(same);
  EXPECT_TRUE(config_changes(default_config(), *same).empty()) << "the default, and what the plan shows";
}

// A key that nobody had a rule for used to restart everybody.
TEST(ConfigChange, NoKeyCanBeAddedWithoutItsReaders) {
  static_assert(!std::is_default_constructible_v<Readers>, "a row of the table that leaves them out must not compile");
  for (const Setting& setting : settings()) {
    EXPECT_NE(setting.readers.bits, 0u) << setting.section << "." << setting.key;
    EXPECT_EQ(setting.readers.bits & ~(kReadByAll | kToldLive | kSupervisor | kNeedsRestart), 0u) << setting.key;
  }
}

TEST(ConfigChange, EachKeyIsKnownToItsReaders) {
  EXPECT_EQ(readers_of("[database]\nurl = \"host=db\"", "database.url"), kReadByAll);
  EXPECT_EQ(readers_of("[listener]\nenabled = false", "listener.enabled"), kReadByAll);
  EXPECT_EQ(readers_of("[listener]\nreconnect_delay = \"7ms\"", "listener.reconnect_delay"), kReadByAll);
  EXPECT_EQ(readers_of("[listener]\nheartbeat_interval = \"7s\"", "listener.heartbeat_interval"), kReadByListener);
  EXPECT_EQ(readers_of("[poll]\noutbox_interval = \"7s\"", "poll.outbox_interval"), kReadByRelay);
  EXPECT_EQ(readers_of("[poll]\nfallback_interval = \"7s\"", "poll.fallback_interval"), kReadByAll);
  EXPECT_EQ(readers_of("[poll]\ngap_spread = \"7ms\"", "poll.gap_spread"), kReadByTimer | kReadByRelay | kReadByResumer);
  EXPECT_EQ(readers_of("[batch]\ntimers = 7", "batch.timers"), kReadByTimer);
  EXPECT_EQ(readers_of("[worker]\nactivity_threads = 7", "worker.activity_threads"), kReadByResumer);
  EXPECT_EQ(readers_of("[session]\ntimeout = \"7s\"", "session.timeout"), kReadByTimer | kReadByRelay | kReadByResumer);
  EXPECT_EQ(readers_of("[retention]\ncompleted = \"7d\"", "retention.completed"), kReadByTimer);
  EXPECT_EQ(readers_of("[log]\nlevel = \"debug\"", "log.level"), kToldLive);
  EXPECT_EQ(readers_of("[supervisor]\nhang_timeout = \"7s\"", "supervisor.hang_timeout"), kSupervisor);
  EXPECT_EQ(readers_of("[supervisor]\nstop_timeout = \"7s\"", "supervisor.stop_timeout"), kReadByAll);
  EXPECT_EQ(readers_of("[runtime]\ndir = \"/x\"", "runtime.dir"), kNeedsRestart);
}

}  // namespace
}  // namespace romancy::proc
