#include "listener/diagnosis.hpp"

#include <gtest/gtest.h>

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
                         Row{Awaited::echo, true, Trouble::pooler}, Row{Awaited::echo, false, Trouble::pooler}}) {
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

TEST(Diagnosis, ARefusalIsAStandbysOrSomethingElse) {
  EXPECT_EQ(refusal("25006"), Trouble::standby);
  EXPECT_EQ(refusal("42501"), Trouble::refused);
  EXPECT_EQ(refusal(""), Trouble::refused);
}

}  // namespace
}  // namespace romancy::listener
