#include "common/io/resolve.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

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
  EXPECT_EQ(**answer, resolve_now("localhost").value());
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

}  // namespace
}  // namespace romancy::io
