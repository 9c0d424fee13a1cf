// Mailbox: the oldest message first, whatever of it is in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "resumer/run_mailbox.hpp"

namespace romancy::resumer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

InboxRow row(std::int64_t id, const std::string& channel = "c") {
  return {id, InboxKind::message, 0, channel, "1", "{}", id};
}
std::vector<InboxRow> rows(std::int64_t from, std::int64_t to) {
  std::vector<InboxRow> all;
  for (std::int64_t id = from; id <= to; ++id) all.push_back(row(id));
  return all;
}

TEST(Mailbox, GivesTheOldestFirstAlsoWhenItsIdCommittedLate) {
  Mailbox mailbox;
  mailbox.put(row(5));
  mailbox.put(row(3));
  EXPECT_EQ(mailbox.pop("c")->id, 3);
  EXPECT_EQ(mailbox.pop("c")->id, 5);
  EXPECT_FALSE(mailbox.pop("c"));
}

TEST(Mailbox, ReportsWhatStaysOnceAndWhatWentNever) {
  Mailbox mailbox;
  mailbox.put(row(1));
  mailbox.put(row(2));
  mailbox.pop("c");
  EXPECT_THAT(mailbox.report(), ElementsAre(2));
  EXPECT_THAT(mailbox.report(), IsEmpty());
}

TEST(Mailbox, IgnoresARowThatIsDeliveredAgain) {
  Mailbox mailbox;
  mailbox.put(row(1));
  mailbox.put(row(1));
  EXPECT_TRUE(mailbox.pop("c"));
  mailbox.put(row(1));  // its deletion is not committed yet
  EXPECT_FALSE(mailbox.pop("c"));
  EXPECT_THAT(mailbox.report(), IsEmpty());
}

TEST(Mailbox, SearchesEachChannelOnceWhenAnEarlierRunLeftRowsBehind) {
  Mailbox mailbox;
  mailbox.left_behind(true);
  mailbox.put(row(20));
  EXPECT_TRUE(mailbox.must_search("c"));
  EXPECT_TRUE(mailbox.must_search("empty"));
  EXPECT_TRUE(mailbox.found("c", rows(1, 2), true));
  EXPECT_TRUE(mailbox.found("empty", {}, true));
  EXPECT_FALSE(mailbox.must_search("c"));
  EXPECT_FALSE(mailbox.must_search("empty"));
  EXPECT_EQ(mailbox.pop("c")->id, 1);
  EXPECT_EQ(mailbox.pop("c")->id, 2);
  EXPECT_EQ(mailbox.pop("c")->id, 20);
  EXPECT_FALSE(mailbox.must_search("c"));
}

TEST(Mailbox, ReadsWhatWasLeftBehindPageByPageBeforeWhatCameLater) {
  Mailbox mailbox;
  mailbox.left_behind(true);
  mailbox.put(row(90));
  EXPECT_EQ(mailbox.search_after("c"), 0);
  EXPECT_TRUE(mailbox.found("c", rows(1, 2), false));
  EXPECT_EQ(mailbox.pop("c")->id, 1);
  EXPECT_FALSE(mailbox.must_search("c"));
  EXPECT_EQ(mailbox.pop("c")->id, 2);
  EXPECT_TRUE(mailbox.must_search("c"));  // 90 is here, but 3 may be missing
  EXPECT_EQ(mailbox.search_after("c"), 2);
  EXPECT_TRUE(mailbox.found("c", rows(3, 3), true));
  EXPECT_EQ(mailbox.pop("c")->id, 3);
  EXPECT_EQ(mailbox.pop("c")->id, 90);
}

TEST(Mailbox, KeepsTheOldestInMemoryAndFindsTheOthersAgain) {
  const auto kept = static_cast<std::int64_t>(Mailbox::kKept);
  Mailbox mailbox;
  for (const auto& one : rows(1, kept + 10)) mailbox.put(one);
  EXPECT_EQ(mailbox.report().size(), Mailbox::kKept + 10);
  mailbox.put(row(kept + 11));
  for (std::int64_t id = 1; id <= kept; ++id) EXPECT_EQ(mailbox.pop("c")->id, id);
  EXPECT_TRUE(mailbox.must_search("c"));
  EXPECT_EQ(mailbox.search_after("c"), kept);
  EXPECT_TRUE(mailbox.found("c", rows(kept + 1, kept + 10), true));
  for (std::int64_t id = kept + 1; id <= kept + 11; ++id) EXPECT_EQ(mailbox.pop("c")->id, id);
}

TEST(Mailbox, SaysSoWhenTheSearchGetsNowhere) {
  Mailbox mailbox;
  mailbox.left_behind(true);
  EXPECT_TRUE(mailbox.found("c", rows(1, 2), false));
  EXPECT_FALSE(mailbox.found("c", rows(1, 2), false));
}

}  // namespace
}  // namespace romancy::resumer
