#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/explain.hpp"

namespace romancy::cli {
namespace {

Instance instance(const std::string& status = "running") {
  return {.instance_id = "o-1",
          .workflow_name = "order",
          .queue = "default",
          .status = status,
          .worker = std::nullopt,
          .note = std::nullopt,
          .served = true};
}

TEST(Explain, WhichQueuedActivitiesItWaitsForAndWhoHasThem) {
  std::vector<PendingTask> tasks{{"resize", "gpu", "waiting", 0, std::nullopt}};
  EXPECT_EQ(explain(instance(), {}, {}, tasks), "waits for activity resize on queue gpu, which nobody has taken");
  tasks[0].attempt = 2;
  EXPECT_EQ(explain(instance(), {}, {}, tasks), "waits for activity resize on queue gpu, which nobody has taken since attempt 2 failed");
  tasks[0] = {"resize", "gpu", "held", 3, "w-1"};
  EXPECT_EQ(explain(instance(), {}, {}, tasks), "waits for activity resize on queue gpu, held by w-1 in attempt 3");
  tasks.push_back({"crop", "cpu", "cancelling", 1, "w-2"});
  EXPECT_EQ(explain(instance(), {}, {{4, "wait_started", "mail"}}, tasks),
            "waits for a message on mail and for activity resize on queue gpu, held by w-1 in attempt 3, for activity crop on queue "
            "cpu, held by w-2 in attempt 1 and is asked to stop");
  tasks.resize(5, tasks[0]);
  EXPECT_THAT(explain(instance(), {}, {}, tasks), testing::EndsWith("and for 2 more"));
}

TEST(Explain, ThatNobodyOfItsVersionIsThere) {
  Instance pinned = instance();
  pinned.served = false;
  pinned.version = "v1";
  EXPECT_EQ(explain(pinned, {}, {}), "is ready, but no living worker serves default/order at version v1");
  pinned.version.reset();
  pinned.draining = true;
  EXPECT_EQ(explain(pinned, {}, {}), "is ready, but no living worker serves default/order but those of versions that drain");
}

TEST(Explain, TheFinishedHaveFinished) {
  for (const char* status : {"completed", "failed", "cancelled"})
    EXPECT_EQ(explain(instance(status), {}, {}), "has finished");
}

TEST(Explain, TheStuckSayWhyAndWhatToDo) {
  Instance stuck = instance("stuck");
  stuck.note = "mismatch at op 3";
  EXPECT_EQ(explain(stuck, {}, {}), "is parked: mismatch at op 3; 'romancy resume o-1' lets it go on");
}

TEST(Explain, FailedCompensationsSayWhatAPersonCanDo) {
  Instance failed = instance("compensating");
  EXPECT_EQ(explain(failed, {}, {}), "is ready: the next free worker takes it");
  failed.note = "compensation failed: refund";
  EXPECT_EQ(explain(failed, {}, {}), "waits for a person: compensation failed: refund; 'romancy compensate o-1' tries "
                                     "again, --give-up leaves it");
}

TEST(Explain, ALeaseNamesTheWorker) {
  Instance leased = instance();
  leased.worker = "shop.1";
  EXPECT_EQ(explain(leased, {}, {}), "is in the hands of shop.1");
}

TEST(Explain, NobodyServesItIsSaid) {
  Instance unserved = instance();
  unserved.served = false;
  EXPECT_EQ(explain(unserved, {}, {}), "is ready, but no living worker serves default/order");
  EXPECT_EQ(explain(unserved, {{"sleep", "12:00"}}, {}),
            "sleeps until 12:00; then no living worker serves default/order");
  EXPECT_EQ(explain(instance(), {}, {}), "is ready: the next free worker takes it");
}

TEST(Explain, WaitsAreNamed) {
  const std::vector<Step> waiting{{0, "started", ""}, {1, "wait_started", "payment"}};
  EXPECT_EQ(explain(instance(), {}, waiting), "waits for a message on payment");
  EXPECT_EQ(explain(instance(), {{"timeout", "12:00"}}, waiting), "waits for a message on payment until 12:00");
  const std::vector<Step> over{{1, "wait_started", "payment"}, {1, "message_received", "payment"}};
  EXPECT_EQ(explain(instance(), {{"retry", "12:00"}}, over), "tries an activity again at 12:00");
  EXPECT_EQ(explain(instance(), {{"start_at", "12:00"}}, {}), "starts at 12:00");
  EXPECT_EQ(explain(instance(), {{"expiry", "12:00"}}, waiting), "waits for a message on payment");
}

TEST(Explain, ChildrenAreCountedByTheirWorkflow) {
  const Step a{1, "child_started", "ship"}, b{2, "child_started", "ship"}, c{3, "child_started", "fly"};
  EXPECT_EQ(explain(instance(), {}, {a}), "waits for a child of ship");
  EXPECT_EQ(explain(instance(), {}, {a, b, c}), "waits for 1 children of fly, 2 of ship");
  EXPECT_EQ(explain(instance(), {}, {a, b, {1, "child_completed", "ship"}, c, {3, "child_failed", "fly"}}),
            "waits for a child of ship");
  EXPECT_EQ(explain(instance(), {}, {{4, "wait_started", "mail"}, a}), "waits for a message on mail and for a child of ship");
}

}  // namespace
}  // namespace romancy::cli
