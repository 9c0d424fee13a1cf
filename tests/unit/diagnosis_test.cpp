#include "listener/diagnosis.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "listener/queue_fill.hpp"

namespace romancy::listener {
namespace {

TEST(Diagnosis, WhatDoesNotComeInTimeIsNamedByWhatIsMissingAndWhatTcpSays) {
  struct Row {
    Awaited awaited;
    bool acknowledged;
    Trouble trouble;
  };
  for (const Row& row : {Row{Awaited::listen, true, Trouble::hung_backend}, Row{Awaited::listen, false, Trouble::black_hole},
                         Row{Awaited::look, true, Trouble::hung_backend}, Row{Awaited::look, false, Trouble::black_hole},
                         Row{Awaited::notify, true, Trouble::hung_backend}, Row{Awaited::notify, false, Trouble::black_hole},
                         Row{Awaited::echo, true, Trouble::pooler}, Row{Awaited::echo, false, Trouble::pooler},
                         Row{Awaited::outside, true, Trouble::pooler}, Row{Awaited::outside, false, Trouble::pooler},
                         Row{Awaited::outside_echo, true, Trouble::pooler}, Row{Awaited::outside_echo, false, Trouble::pooler}}) {
    EXPECT_EQ(overdue(row.awaited, row.acknowledged), row.trouble) << static_cast<int>(row.awaited) << row.acknowledged;
    EXPECT_NE(explain(row.trouble, row.awaited, "5s").find("within 5s"), std::string::npos);
  }
}

TEST(Diagnosis, WhatTheServerSaysOfTheConnectionIsEnough) {
  EXPECT_EQ(look(false, 5, 5), Trouble::none);
  EXPECT_EQ(look(false, 0, 5), Trouble::pooler);  // it gave us another server connection
  EXPECT_EQ(look(false, 4, 5), Trouble::pooler);
  EXPECT_EQ(look(true, 5, 5), Trouble::standby);
  EXPECT_EQ(look(true, 0, 5), Trouble::standby);
  EXPECT_NE(explain(Trouble::pooler, Awaited::look, "5s").find("pg_listening_channels() is empty"), std::string::npos);
}

TEST(Diagnosis, AServerProcessOfAnotherNumberMeansThatSomethingStandsBetween) {
  EXPECT_FALSE(relayed(4711, 4711));
  EXPECT_TRUE(relayed(4711, 4712));
  EXPECT_TRUE(relayed(-1717986919, 4712));  // PgBouncer's are random
}

TEST(Diagnosis, EveryTroubleHasANameAndASentenceForTheStatus) {
  std::set<std::string_view> names, sentences;
  for (int i = 0; i < static_cast<int>(Trouble::count_); ++i) {
    names.insert(name_of(static_cast<Trouble>(i)));
    sentences.insert(advice(static_cast<Trouble>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(Trouble::count_));
  EXPECT_EQ(names.count("?"), 0u);
  EXPECT_EQ(sentences.size(), static_cast<std::size_t>(Trouble::count_));
  EXPECT_EQ(advice(Trouble::none), "");
}

TEST(QueueFill, EachMarkIsToldOfOnceAndAUsageThatWaversAboutItIsNotToldOfAgain) {
  using enum QueueFill;
  EXPECT_EQ(queue_fill(low, 0.099), low);
  EXPECT_EQ(queue_fill(low, 0.10), high);
  EXPECT_EQ(queue_fill(low, 0.9), critical);  // between two looks
  for (const double wavering : {0.10, 0.095, 0.11, 0.081}) EXPECT_EQ(queue_fill(high, wavering), high) << wavering;
  EXPECT_EQ(queue_fill(high, 0.079), low);
  EXPECT_EQ(queue_fill(high, 0.499), high);
  EXPECT_EQ(queue_fill(high, 0.50), critical);
  for (const double wavering : {0.50, 0.45, 0.55, 0.41, 1.0}) EXPECT_EQ(queue_fill(critical, wavering), critical) << wavering;
  EXPECT_EQ(queue_fill(critical, 0.399), high);
  EXPECT_EQ(queue_fill(critical, 0.05), low);
}

TEST(Diagnosis, ARefusalIsAStandbysOrSomethingElse) {
  EXPECT_EQ(refusal("25006"), Trouble::standby);
  EXPECT_EQ(refusal("42501"), Trouble::refused);
  EXPECT_EQ(refusal(""), Trouble::refused);
}

}  // namespace
}  // namespace romancy::listener
