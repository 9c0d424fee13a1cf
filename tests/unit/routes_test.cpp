#include "listener/routes.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace romancy::listener {
namespace {

constexpr const char* kKind = "workflow_resumable";

Member member(MemberId id, std::uint64_t key, std::string group = "orders") {
  return {.id = id, .key = key, .alone = false, .group = std::move(group), .channels = {kKind}};
}

std::set<MemberId> targets(const Routes& routes, std::optional<std::string_view> instance,
                           std::string_view kind = kKind) {
  std::set<MemberId> ids;
  routes.targets(kind, instance, [&ids](MemberId id) { EXPECT_TRUE(ids.insert(id).second) << "told twice"; });
  return ids;
}

std::string instance(int i) { return "order-" + std::to_string(i); }

std::map<std::string, MemberId> places(const Routes& routes, int instances) {
  std::map<std::string, MemberId> all;
  for (int i = 0; i < instances; ++i) {
    const auto ids = targets(routes, instance(i));
    EXPECT_EQ(ids.size(), 1u);
    all[instance(i)] = *ids.begin();
  }
  return all;
}

TEST(Routes, AHintAboutAnInstanceGoesToOneMemberOfEachGroup) {
  Routes routes;
  routes.join(member(1, 11));
  routes.join(member(2, 12));
  routes.join(member(3, 13, "billing"));
  const auto ids = targets(routes, "order-1");
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_TRUE(ids.contains(3));
}

TEST(Routes, AHintAboutNoInstanceGoesToEveryMember) {
  Routes routes;
  for (MemberId id = 1; id <= 4; ++id) routes.join(member(id, id));
  EXPECT_EQ(targets(routes, std::nullopt), (std::set<MemberId>{1, 2, 3, 4}));
}

TEST(Routes, ObserversGetEverythingWhateverTheirGroup) {
  Routes routes;
  for (MemberId id = 1; id <= 2; ++id) routes.join(member(id, id));
  for (MemberId id = 3; id <= 4; ++id) {
    auto observer = member(id, id);
    observer.alone = true;
    routes.join(observer);
  }
  const auto ids = targets(routes, "order-1");
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_TRUE(ids.contains(3) && ids.contains(4));
}

TEST(Routes, OnlyTheWantedChannelsAreTold) {
  Routes routes;
  auto deaf = member(1, 1);
  deaf.channels = {"timer_expired"};
  routes.join(deaf);
  routes.join(member(2, 2));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(targets(routes, instance(i)), (std::set<MemberId>{2}));
  EXPECT_EQ(targets(routes, std::nullopt, "timer_expired"), (std::set<MemberId>{1}));
  EXPECT_TRUE(targets(routes, "order-1", "outbox_pending").empty());
}

TEST(Routes, InstancesSpreadOverTheMembers) {
  Routes routes;
  for (MemberId id = 1; id <= 4; ++id) routes.join(member(id, 4000 + id));  // process ids stand close together
  std::map<MemberId, int> loads;
  for (const auto& [name, id] : places(routes, 4000)) ++loads[id];
  for (MemberId id = 1; id <= 4; ++id) {
    EXPECT_GT(loads[id], 800);  // 1000 each would be even; the hash is fixed, so this does not vary
    EXPECT_LT(loads[id], 1200);
  }
}

TEST(Routes, WhenAMemberComesOnlyTheInstancesThatMoveToItMove) {
  Routes routes;
  for (MemberId id = 1; id <= 3; ++id) routes.join(member(id, id));
  const auto before = places(routes, 1000);
  routes.join(member(4, 4));
  int moved = 0;
  for (const auto& [name, id] : places(routes, 1000)) {
    if (id == before.at(name)) continue;
    EXPECT_EQ(id, 4u);
    ++moved;
  }
  EXPECT_GT(moved, 150);
  EXPECT_LT(moved, 350);
}

TEST(Routes, WhenAMemberLeavesOnlyItsInstancesMoveAndComeBackWithIt) {
  Routes routes;
  for (MemberId id = 1; id <= 3; ++id) routes.join(member(id, id));
  const auto before = places(routes, 1000);
  routes.leave(2);
  for (const auto& [name, id] : places(routes, 1000)) {
    EXPECT_NE(id, 2u);
    if (before.at(name) != 2) {
      EXPECT_EQ(id, before.at(name));
    }
  }
  routes.join(member(9, 2));  // the same process, subscribed again
  for (const auto& [name, id] : places(routes, 1000)) EXPECT_EQ(id == 9 ? 2 : id, before.at(name));
}

// Whatever comes and goes in whatever order: only the keys of the one that left move, and only to others of its group;
// only keys that move to the one that came move at all.
TEST(Routes, InAnyOrderOfComingAndGoingOnlyTheKeysOfTheOneMove) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Routes routes;
    std::map<std::string, std::map<MemberId, std::uint64_t>> groups{{"a", {}}, {"b", {}}, {"c", {}}};
    MemberId next = 1;
    // Instance and group: who gets it.
    const auto all_places = [&] {
      std::map<std::pair<int, std::string>, MemberId> places_now;
      for (int i = 0; i < 200; ++i) {
        for (const MemberId id : targets(routes, instance(i))) {
          for (const auto& [name, members] : groups) {
            if (members.contains(id)) {
              EXPECT_TRUE(places_now.emplace(std::pair(i, name), id).second) << "two of one group";
            }
          }
        }
      }
      return places_now;
    };
    auto before = all_places();
    for (int step = 0; step < 60; ++step) {
      const std::string name(1, static_cast<char>('a' + random() % 3));
      auto& members = groups[name];
      const bool leaves = !members.empty() && random() % 2 == 0;
      MemberId moved = 0;
      if (leaves) {
        moved = std::next(members.begin(), static_cast<std::ptrdiff_t>(random() % members.size()))->first;
        routes.leave(moved);
        members.erase(moved);
      } else {
        moved = next++;
        members[moved] = random() % 100'000;  // a process id; two may be the same
        routes.join(member(moved, members[moved], name));
      }
      auto after = all_places();
      for (const auto& [group_name, its_members] : groups) {
        for (int i = 0; i < 200; ++i) {
          const std::pair key(i, group_name);
          ASSERT_EQ(after.contains(key), !its_members.empty());  // to exactly one, while there is one
          if (!before.contains(key) || !after.contains(key) || before.at(key) == after.at(key)) continue;
          ASSERT_EQ(group_name, name);
          ASSERT_EQ(leaves ? before.at(key) : after.at(key), moved);
        }
      }
      before = std::move(after);
    }
  }
}

TEST(Routes, TwoSubscriptionsOfOneProcessShareToo) {
  Routes routes;
  routes.join(member(1, 77));
  routes.join(member(2, 77));
  std::set<MemberId> used;
  for (const auto& [name, id] : places(routes, 100)) used.insert(id);
  EXPECT_EQ(used, (std::set<MemberId>{1, 2}));
}

TEST(Routes, NobodyIsTargetedAfterAllHaveLeft) {
  Routes routes;
  routes.join(member(1, 1));
  routes.leave(1);
  routes.leave(1);
  EXPECT_TRUE(targets(routes, std::nullopt).empty());
}

}  // namespace
}  // namespace romancy::listener
