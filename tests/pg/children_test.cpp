// Children: how they are started, what their parents are told, and what becomes of them; in every order of two commits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Children : public Storage {
 protected:
  // p is leased by session 1 and has started the child c, which session 2 has leased.
  void family(bool follows = true) {
    leased("p");
    a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "c", "7", follows}}}}));
    b.run(start_session(2));
    EXPECT_EQ(b.run(claim(2)), "c|1");
  }
  // One more that session 1 has leased.
  void leased_too(const std::string& id) {
    a.run(start(id));
    const std::string first = a.run(claim(1, "inbox -> 0 -> 0"));
    a.run(commit(1, {{.id = id, .release = false, .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(first)}}}));
  }
  static Did ended(const std::string& id, int status = 2, const std::string& data = "42") {
    return {.id = id, .status = status, .history = {{10, 0, 14 + status, "", data}}};
  }
  std::string inbox_of(const std::string& id) {
    return c.run("SELECT kind, op, name, data FROM inbox WHERE instance_id = '" + id + "' ORDER BY id");
  }
};

TEST_F(Children, AreStartedByTheirParentsCommitAndItsRoutesClaimThem) {
  leased("p");
  EXPECT_EQ(a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "c", "7"}}}})), "1|t|f|[]");
  EXPECT_EQ(inbox_of("c"), "1|0||7");
  EXPECT_EQ(c.run("SELECT * FROM workflow_children"), "p|c|t");
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2)), "c|1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Children, OfARunThatLostItsLeaseAreNotStarted) {
  leased("p");
  EXPECT_EQ(a.run(commit(1, {{.id = "p", .token = 9, .children = {{3, "c"}}, .cancels = {{"p", "x"}}}})), "1|f|f|[]");
  EXPECT_EQ(counts({"children", "inbox"}), "0|0");
  EXPECT_EQ(c.run("SELECT count(*) FROM instances"), "1");
}

TEST_F(Children, TheHintNamesTheChild) {
  leased("p");
  c.run("LISTEN " + schema.name() + "_workflow_resumable");
  a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "c"}}}}));
  const auto heard = c.notifications();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_THAT(heard[0].second, HasSubstr(R"("instance_id": "c")"));
  EXPECT_THAT(heard[0].second, HasSubstr(R"("workflow_name": "w")"));
}

TEST_F(Children, AThousandInOneCommit) {
  leased("p");
  Did run{.id = "p", .release = false};
  for (int i = 1; i <= 1000; ++i) run.children.push_back({i, "c" + std::to_string(i), std::to_string(i)});
  a.run(commit(1, {run}));
  EXPECT_EQ(counts({"children", "inbox", "pokes"}), "1000|1000|1000");
  EXPECT_EQ(c.run("SELECT count(*) FROM children c, inbox b WHERE b.instance_id = c.child_id AND b.data = to_jsonb(c.op)"), "1000");
}

TEST_F(Children, WhoseIdExistsAreRefusedInTheSameAnswer) {
  leased("p");
  c.run(start("taken"));
  EXPECT_THAT(a.run(commit(1, {{.id = "p", .children = {{3, "taken"}, {4, "c"}}}})),
              AllOf(StartsWith("1|t|f|"), HasSubstr(R"(11, 3, "w", {"error": {"type": "ChildRefused", "message": "there is an instance 'taken' already")")));
  EXPECT_EQ(c.run("SELECT * FROM workflow_children"), "p|c|t");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Children, OfTwoThatWantOneIdInOneBatchTheFirstGetsIt) {
  leased("p");
  leased_too("q");
  a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "c", "1"}, {4, "c", "2"}}},
                   {.id = "q", .release = false, .children = {{5, "c", "3"}}}}));
  EXPECT_EQ(inbox_of("c"), "1|0||1");
  EXPECT_EQ(c.run("SELECT instance_id, op FROM inbox WHERE kind = 11 ORDER BY 1"), "p|4\nq|5");
}

TEST_F(Children, AnIdThatAnOpenTransactionStartsIsRefusedAndTheOthersAreStarted) {
  leased("p");
  c.run("BEGIN");
  c.run(start("mine"));
  EXPECT_THAT(a.run(commit(1, {{.id = "p", .children = {{3, "a"}, {4, "mine"}, {5, "z"}}}})),
              HasSubstr(R"(11, 4, "w", {"error": {"type": "ChildRefused", "message": "a transaction that is open starts an instance 'mine')"));
  c.run("ROLLBACK");
  EXPECT_EQ(c.run("SELECT string_agg(child_id, ',' ORDER BY 1) FROM children"), "a,z");
  EXPECT_EQ(a.run("SHOW lock_timeout"), "0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Children, AStartThatIsNoChildMeansTheInstanceThatIsThere) {
  leased("p");
  c.run(start("there"));
  EXPECT_EQ(a.run(commit(1, {{.id = "p", .children = {{0, "there", "9"}, {0, "new", "7"}}}})), "1|t|t|[]");
  EXPECT_EQ(inbox_of("there"), "1|0||{}");
  EXPECT_EQ(inbox_of("new"), "1|0||7");
  EXPECT_EQ(counts({"children"}), "0");
}

TEST_F(Children, GetWhatTheCommitThatStartsThemSendsThem) {
  leased("p");
  a.run(commit(1, {{.id = "p", .release = false, .messages = {{"mail", "1", "c"}}, .children = {{3, "c"}}, .cancels = {{"c", "r"}}}}));
  EXPECT_EQ(c.run("SELECT string_agg(kind::text, ',' ORDER BY id) FROM inbox WHERE instance_id = 'c'"), "1,2,6");
}

TEST_F(Children, TellTheirParentHowTheyEnded) {
  const std::vector<std::pair<Did, std::string>> cases{
      {ended("c", 2, R"({"n": 1})"), R"({"output": {"n": 1}, "status": "completed"})"},
      {ended("c", 3, R"({"type": "E", "message": "m"})"), R"({"error": {"type": "E", "message": "m"}, "status": "failed"})"},
      {ended("c", 4, R"({"reason": "r"})"), R"({"error": {"type": "WorkflowCancelled", "message": "r"}, "status": "cancelled"})"}};
  for (const auto& [did, told] : cases) {
    a.run("DELETE FROM sessions; DELETE FROM instances; DELETE FROM history; DELETE FROM inbox; DELETE FROM pokes; SELECT pg_advisory_unlock_all()");
    b.run("SELECT pg_advisory_unlock_all()");
    family();
    b.run(commit(2, {did}));
    EXPECT_EQ(inbox_of("p"), "11|3|w|" + told);
    EXPECT_EQ(counts({"children"}), "0");
    EXPECT_EQ(invariants(), "");
  }
}

TEST_F(Children, ThatEndWakeAParentThatIsSuspended) {
  family();
  a.run(commit(1, {{.id = "p"}}));
  c.run("LISTEN " + schema.name() + "_workflow_resumable");
  b.run(commit(2, {ended("c")}));
  const auto heard = c.notifications();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_THAT(heard[0].second, HasSubstr(R"("instance_id": "p")"));
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 -> 1")), "p|11");
}

TEST_F(Children, ThatFollowAreCancelledWhenTheirParentEndsAndOthersGoOn) {
  family();
  a.run(commit(1, {{.id = "p", .release = false, .children = {{4, "free", "8", false}}}}));
  a.run(commit(1, {ended("p")}));
  EXPECT_EQ(inbox_of("c").substr(inbox_of("c").find("\n") + 1), R"(6|0||{"reason": "its parent p has ended"})");
  EXPECT_EQ(inbox_of("free"), "1|0||8");
  EXPECT_EQ(counts({"children"}), "0");
  b.run(commit(2, {{.id = "c", .status = 4, .history = {{9, 0, 18, "", "{}"}}}}));
  EXPECT_EQ(inbox_of("p"), "") << "nobody is told";
  EXPECT_EQ(invariants(), "");
}

TEST_F(Children, AndAParentThatEndInOneBatchLeaveNothing) {
  leased("p");
  a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "c"}}}}));
  EXPECT_EQ(a.run(claim(1)), "c|1");
  a.run(commit(1, {ended("p"), ended("c")}));
  EXPECT_EQ(counts({"children", "inbox"}), "0|0");
}

TEST_F(Children, OfAParentThatRecursFollowItStillAndTellItNothing) {
  family();
  a.run(commit(1, {{.id = "p", .status = 7, .history = {{2, 0, 19, "", "{}"}}}}));
  EXPECT_EQ(c.run("SELECT op, follows FROM children"), "0|t");
  EXPECT_EQ(a.run(claim(1, "instance_id")), "p");
  a.run(commit(1, {{.id = "p", .token = 2, .status = 2, .history = {{1, 0, 16, "", "1"}}}}));
  EXPECT_THAT(inbox_of("c"), HasSubstr("its parent p has ended"));
}

TEST_F(Children, CancelsOfOthersReachTheActiveAndLeaveTheRestAlone) {
  leased("p");
  c.run(start("active"));
  c.run("SELECT start_workflow('w', '5', 'later', start_at => now() + interval '1 hour')");
  a.run(start("over"));
  EXPECT_EQ(a.run(claim(1, "instance_id")), "active\nover");
  a.run(commit(1, {ended("over")}));
  a.run(commit(1, {{.id = "p", .release = false,
                    .cancels = {{"active", "a"}, {"over", "b"}, {"unknown", "c"}, {"later", "d"}}}}));
  EXPECT_THAT(inbox_of("active"), HasSubstr(R"(6|0||{"reason": "a"})"));
  EXPECT_EQ(inbox_of("later"), "1|0||5\n6|0||{\"reason\": \"d\"}");
  EXPECT_EQ(inbox_of("over") + inbox_of("unknown"), "");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Children, NobodyWaitsForAreCancelled) {
  family();
  a.run(commit(1, {{.id = "p", .release = false, .children = {{4, "other"}}, .stops = {{3, false}}}}));
  EXPECT_THAT(inbox_of("c"), HasSubstr("its parent does not wait for it any more"));
  EXPECT_EQ(inbox_of("other"), "1|0||{}");
  EXPECT_EQ(invariants(), "");
}

// Found by the soak: the wait for a child lost a race before the parent was told that the child had been refused, and the
// instance that has its id, nobody's child, was cancelled.
TEST_F(Children, ThatWereRefusedAreStrangersAndLeftAlone) {
  leased("p");
  c.run(start("stranger"));
  const std::string before = inbox_of("stranger");
  a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "stranger"}, {4, "p"}}}}));
  a.run(commit(1, {{.id = "p", .release = false, .stops = {{3, false}, {4, false}}}}));
  EXPECT_EQ(inbox_of("stranger"), before);
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox WHERE instance_id = 'p' AND kind = 6"), "0");
  EXPECT_EQ(invariants(), "");
}

// A child and its parent end at once: whoever is second sees that the other is gone.
class BothEnd : public Children {
 protected:
  void script(bool child_first) {
    family();
    Step& first = child_first ? b : a;
    Step& second = child_first ? a : b;
    first.run("BEGIN");
    first.run(commit(child_first ? 2 : 1, {ended(child_first ? "c" : "p")}));
    second.send(commit(child_first ? 1 : 2, {ended(child_first ? "p" : "c")}));
    second.expect_blocked();
    first.run("COMMIT");
    second.collect();
  }
};

TEST_F(BothEnd, AtOnceNeitherTellsTheOtherAndNothingIsLeft) {
  for (const bool child_first : {true, false}) {
    a.run("DELETE FROM sessions; DELETE FROM instances; DELETE FROM history; DELETE FROM inbox; DELETE FROM pokes; SELECT pg_advisory_unlock_all()");
    b.run("SELECT pg_advisory_unlock_all()");
    script(child_first);
    // What reached the one that ended is cleared by the claim that takes its poke.
    Step d(schema);
    d.run(start_session(3));
    EXPECT_EQ(d.run(claim(3)), "");
    EXPECT_EQ(counts({"children", "inbox", "pokes"}), "0|0|0") << child_first;
    EXPECT_EQ(invariants(), "");
  }
}

TEST_F(BothEnd, BrokenWithoutTheLockWhatTheChildToldIsLeftBehind) {
  schema.patch("end_children", "PERFORM FROM children c WHERE c.child_id = ANY (v_rows) ORDER BY c.child_id FOR UPDATE;", "");
  schema.patch("commit_runs", "PERFORM end_children(coalesce(v_ended, '{}'), coalesce(v_recurred, '{}'));",
               "PERFORM clear_inbox(coalesce(v_ended, '{}')); PERFORM end_children(coalesce(v_ended, '{}'), coalesce(v_recurred, '{}'));");
  schema.patch("commit_runs", "PERFORM clear_inbox(v_ended);", "");
  script(true);
  EXPECT_NE(counts({"inbox"}), "0");
}

// Two commits that each end a child of the other's parent, met in opposite order.
TEST_F(Children, OfTwoCommitsAreLockedInIdOrderAndDoNotDeadlock) {
  leased("p");
  leased_too("q");
  a.run(commit(1, {{.id = "p", .release = false, .children = {{3, "c1"}, {4, "c2"}}}}));
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2)), "c1|1\nc2|1");
  Step holder(schema);
  holder.run("BEGIN; SELECT 1 FROM children WHERE child_id = 'c1' FOR UPDATE");
  a.send(commit(1, {ended("p")}));
  a.expect_blocked();
  b.send(commit(2, {ended("c2"), ended("c1")}));
  b.expect_blocked();
  holder.run("COMMIT");
  EXPECT_THAT(a.collect_any(), StartsWith("1|t"));
  EXPECT_THAT(b.collect_any(), StartsWith("1|t"));
  EXPECT_EQ(counts({"children"}), "0");
}

}  // namespace
}  // namespace romancy::test
