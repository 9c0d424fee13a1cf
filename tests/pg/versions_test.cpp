// Versions: what is begun by one version of the code is gone on with by that one, whatever dies, drains or comes late.
//
// a is a worker of version v1 (session 1), b one of v2 (session 2), c an application, or an operator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Versions : public Storage {
 protected:
  Step other{schema};

  void SetUp() override {
    a.run(start_session(1, "{}", "1 hour", "v1"));
    b.run(start_session(2, "{}", "1 hour", "v2"));
  }
  static std::string version_of(std::int64_t session) { return session == 1 ? "v1" : "v2"; }
  std::string claimed(Step& step, std::int64_t session, const std::string& columns = "instance_id") {
    return step.run(claim_at(version_of(session), session, columns));
  }
  // What a worker does with what it claims: its start is consumed, it goes to sleep.
  Did began(const std::string& id, std::int64_t token = 1) {
    const std::string start = c.run("SELECT min(id) FROM inbox WHERE instance_id = '" + id + "' AND kind = 1");
    return {.id = id, .token = token, .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(start)}};
  }
  std::string commits(Step& step, std::int64_t session, const Did& did) {
    return step.run(commit(session, {did}, 100, version_of(session)));
  }
  // Begun by v1, and suspended; no poke left.
  void pinned(const std::string& id = "i1") {
    c.run(start(id));
    ASSERT_EQ(claimed(a, 1), id);
    ASSERT_EQ(commits(a, 1, began(id)), "1|t|t|[]");
  }
  // Its version, the version of its route, and of each of its pokes.
  std::string at(const std::string& id = "i1") {
    return c.run("SELECT coalesce(i.version, '-'), "
                 "(SELECT coalesce(nullif(r.version, ''), '-') FROM routes r WHERE r.route_id = i.route_id LIMIT 1), "
                 "(SELECT coalesce(string_agg((SELECT coalesce(nullif(r.version, ''), '-') FROM routes r WHERE r.route_id = p.route_id LIMIT 1), ' '), '') "
                 "FROM pokes p WHERE p.instance_id = i.instance_id) FROM instances i WHERE i.instance_id = '" + id + "'");
  }
  std::string unread(const std::string& id = "i1") {
    return c.run("SELECT count(*) FROM inbox WHERE NOT seen AND instance_id = '" + id + "'");
  }
};

TEST_F(Versions, IdsOfRoutesDifferWithTheVersionAndWithoutOneStayWhatTheyWere) {
  EXPECT_EQ(c.run("SELECT route_id('default', 'w') = route_id('default', 'w', ''), "
                  "route_id('default', 'w', 'v1') = route_id('default', 'w', 'v1'), "
                  "(SELECT count(DISTINCT r) FROM (VALUES (route_id('default', 'w')), (route_id('default', 'w', 'v1')), "
                  "(route_id('default', 'w', '1')), (route_id('1:default', 'w')), (route_id('v1:17:default', 'w')), "
                  "(route_id('w', '', 'v')), (route_id('', 'w', 'v')), (route_id('default', 'wv1'))) x (r))"),
            "t|t|8");
  EXPECT_EQ(c.run("SELECT count(*) FROM routes"), "3");
  c.run("INSERT INTO routes VALUES (route_id('default', 'w', 'v3'), 'default', 'w', 'other')");
  EXPECT_THAT(other.error(start_session(3, "{}", "1 hour", "v3")), StartsWith("22023 workflow_name: 'w' in queue 'default' has the route id"));
}

TEST_F(Versions, TheFirstCommitPinsAndOnlyWorkersOfThatVersionGoOn) {
  pinned();
  EXPECT_EQ(at(), "v1|v1|");
  c.run(tell("i1"));
  EXPECT_EQ(at(), "v1|v1|v1");
  EXPECT_EQ(claimed(b, 2), "");
  EXPECT_EQ(a.run(claim(1)), "") << "nor does one that has no version";
  EXPECT_EQ(claimed(a, 1), "i1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, WhatIsOverKeepsTheVersionThatRanIt) {
  c.run(start("i1"));
  claimed(b, 2);
  Did did = began("i1");
  did.status = 2;
  did.history.push_back({2, 0, 16, "", "1"});
  commits(b, 2, did);
  EXPECT_EQ(c.run("SELECT instance_id, status, version FROM workflow_instances"), "i1|completed|v2");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, ACommitThatRecordsNothingPinsNothing) {
  c.run(start("i1"));
  claimed(a, 1);
  EXPECT_THAT(commits(a, 1, {.id = "i1", .release = false}), StartsWith("1|t|f|"));
  EXPECT_EQ(at(), "-|-|");
}

TEST_F(Versions, AWorkerThatDiesBeforeItsFirstCommitPinsNothing) {
  c.run(start("i1"));
  ASSERT_EQ(claimed(a, 1), "i1");
  c.run("SELECT end_session(1, true, false)");
  EXPECT_EQ(at(), "-|-|-");
  EXPECT_EQ(claimed(b, 2), "i1");
  commits(b, 2, began("i1", 2));
  EXPECT_EQ(at(), "v2|v2|");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, TheDeathOfAWorkerMovesNothingThatItsVersionBegan) {
  pinned();
  c.run(tell("i1"));
  ASSERT_EQ(claimed(a, 1), "i1");
  c.run("SELECT end_session(1, true, false)");
  EXPECT_EQ(at(), "v1|v1|v1");
  EXPECT_EQ(claimed(b, 2), "");
  other.run(start_session(3, "{}", "1 hour", "v1"));
  EXPECT_EQ(other.run(claim_at("v1", 3, "instance_id, crashes")), "i1|1");
}

TEST_F(Versions, AWorkerWithoutOnePinsNothingAndTheNextThatHasOneDoes) {
  other.run(start_session(3));
  c.run(start("i1"));
  ASSERT_EQ(other.run(claim(3, "instance_id")), "i1");
  other.run(commit(3, {began("i1")}));
  EXPECT_EQ(at(), "-|-|");
  c.run(tell("i1"));
  ASSERT_EQ(claimed(b, 2), "i1");
  const std::string message = c.run("SELECT id FROM inbox");
  commits(b, 2, {.id = "i1", .token = 2, .history = {{2, 1, 8, "c", "{}"}}, .consumed = {std::stoll(message)}});
  EXPECT_EQ(at(), "v2|v2|");
  c.run(tell("i1"));
  EXPECT_EQ(other.run(claim(3)), "");
}

TEST_F(Versions, ARunThatLostItsLeasePinsNothing) {
  c.run(start("i1"));
  claimed(a, 1);
  const Did late = began("i1");
  c.run("SELECT end_session(1, false, false)");
  claimed(b, 2);
  EXPECT_EQ(commits(a, 1, late), "1|f|f|[]");
  EXPECT_EQ(at(), "-|-|");
}

TEST_F(Versions, OfABatchEachIsPinnedForItself) {
  pinned("old");
  for (const std::string id : {"i1", "i2", "i3"}) c.run(start(id));
  c.run(tell("old"));
  EXPECT_EQ(claimed(a, 1), "i1\ni2\ni3\nold");
  Did parked{.id = "i2", .status = 5, .note = "mismatch: at op 1", .history = {{1, 0, 1, "", "{}"}}};
  Did nothing{.id = "i3", .release = false};
  Did stale = began("i1", 77);
  stale.id = "old";
  EXPECT_EQ(a.run("SELECT count(*) FROM (" + commit(1, {began("i1"), parked, nothing, stale}, 100, "v1") + ") x WHERE accepted"), "3");
  EXPECT_EQ(at("i1"), "v1|v1|");
  EXPECT_EQ(at("i2"), "-|-|") << "a parked one has begun nothing";
  EXPECT_EQ(at("i3"), "-|-|");
  EXPECT_EQ(at("old"), "v1|v1|");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, EachGenerationIsPinnedToWhoeverBeginsIt) {
  pinned();
  c.run(tell("i1"));
  claimed(a, 1);
  EXPECT_EQ(commits(a, 1, {.id = "i1", .token = 2, .status = 7, .history = {{2, 0, 19, "", "7"}}}), "1|t|t|[]");
  EXPECT_EQ(at(), "-|-|-");
  EXPECT_EQ(claimed(b, 2, "instance_id, generation, jsonb_path_query_array(inbox, '$[*][1]')"), "i1|1|[2, 1]");
  Did second = began("i1", 3);
  commits(b, 2, second);
  EXPECT_EQ(at(), "v2|v2|");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, ChildrenAreNobodysUntilTheyBegin) {
  c.run(start("i1"));
  claimed(a, 1);
  Did parent = began("i1");
  parent.children = {{.op = 2, .id = "kid"}};
  commits(a, 1, parent);
  EXPECT_EQ(at("kid"), "-|-|-");
  EXPECT_EQ(claimed(b, 2), "kid");
  Did ends = began("kid");
  ends.status = 2;
  ends.history.push_back({2, 0, 16, "", "42"});
  commits(b, 2, ends);
  EXPECT_EQ(claimed(a, 1, "instance_id, inbox -> 0 -> 3"), "i1|\"w\"") << "and its end is told to the parent, at its version";
  EXPECT_EQ(invariants(), "");
}

// ------------------------------------------------------------------------------------ pokes that come late

// A publisher reads the route, and commits when the instance has another.
TEST_F(Versions, APokeFromBeforeThePinReachesTheVersionThatPinned) {
  c.run(start("i1"));
  claimed(a, 1);
  const Did did = began("i1");
  other.run("BEGIN; " + tell("i1"));
  EXPECT_EQ(commits(a, 1, did), "1|t|t|[]");
  other.run("COMMIT");
  EXPECT_EQ(at(), "v1|v1|-");
  EXPECT_EQ(claimed(b, 2), "") << "v2 serves the route it was written for, and passes it on";
  EXPECT_EQ(at(), "v1|v1|v1");
  EXPECT_EQ(claimed(a, 1, "instance_id, inbox -> 0 -> 3"), "i1|\"c\"");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, APokeFromBeforeThePinIsFoundByTheVersionThatPinnedToo) {
  c.run(start("i1"));
  claimed(a, 1);
  const Did did = began("i1");
  other.run("BEGIN; " + tell("i1"));
  commits(a, 1, did);
  other.run("COMMIT");
  EXPECT_EQ(claimed(a, 1), "i1");
}

TEST_F(Versions, APokeFromBeforeAGenerationIsFoundByWhoeverHasThePin) {
  pinned();
  c.run(tell("i1"));
  claimed(a, 1);
  other.run("BEGIN; " + tell("i1", "late"));
  commits(a, 1, {.id = "i1", .token = 2, .status = 7, .history = {{2, 0, 19, "", "7"}}});
  claimed(b, 2);
  commits(b, 2, {.id = "i1", .token = 3, .history = {{1, 0, 1, "", "7"}}, .consumed = {std::stoll(c.run("SELECT max(id) FROM inbox WHERE kind = 1"))},
                 .seen = {std::stoll(c.run("SELECT id FROM inbox WHERE name = 'c'"))}});
  other.run("COMMIT");
  EXPECT_EQ(at(), "v2|v2|v1");
  EXPECT_EQ(claimed(a, 1), "");
  EXPECT_EQ(claimed(b, 2, "instance_id, inbox -> 0 -> 3"), "i1|\"late\"");
  EXPECT_EQ(invariants(), "");
}

// The same, when nobody serves the old route any more: it was for that that v1 was drained and stopped.
class Gone : public Versions {
 protected:
  // A message for an instance that v1 began, of an application that commits when v2 has it and v1 is gone.
  void message_comes_late() {
    pinned();
    c.run(tell("i1"));
    claimed(a, 1);
    other.run("BEGIN; " + tell("i1", "late"));
    commits(a, 1, {.id = "i1", .token = 2, .status = 7, .history = {{2, 0, 19, "", "7"}}});
    c.run("SELECT end_session(1, false, false)");
    claimed(b, 2);
    commits(b, 2, {.id = "i1", .token = 3, .history = {{1, 0, 1, "", "7"}}, .consumed = {std::stoll(c.run("SELECT max(id) FROM inbox WHERE kind = 1"))},
                   .seen = {std::stoll(c.run("SELECT id FROM inbox WHERE name = 'c'"))}});
    other.run("COMMIT");
    EXPECT_EQ(claimed(b, 2), "");
  }
};

TEST_F(Gone, APokeForAVersionThatIsGoneIsForwarded) {
  message_comes_late();
  other.run("LISTEN " + schema.name() + "_workflow_resumable");
  c.run("SELECT * FROM reap_sessions(false)");
  EXPECT_EQ(at(), "v2|v2|v2");
  const auto heard = other.notifications();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_THAT(heard[0].second, HasSubstr("\"i1\""));
  EXPECT_EQ(claimed(b, 2, "instance_id, inbox -> 0 -> 3"), "i1|\"late\"");
  EXPECT_EQ(c.run("SELECT forward_pokes()"), "0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Gone, BrokenWithoutForwardingItWaitsForAWorkerOfThatVersion) {
  schema.patch("reap_sessions", "PERFORM forward_pokes();", "");
  message_comes_late();
  c.run("SELECT * FROM reap_sessions(false)");
  EXPECT_EQ(claimed(b, 2), "");
}

TEST_F(Versions, APokeOfARouteThatOnlyDrainingVersionsServeIsForwarded) {
  c.run("SELECT end_session(2, false, false)");
  c.run(start("i1"));
  claimed(a, 1);
  const Did did = began("i1");
  c.run("SELECT drain_version('v1')");
  other.run("BEGIN; " + tell("i1"));
  commits(a, 1, did);
  other.run("COMMIT");
  EXPECT_EQ(claimed(a, 1), "");
  EXPECT_EQ(c.run("SELECT forward_pokes()"), "1");
  EXPECT_EQ(claimed(a, 1), "i1");
}

TEST_F(Versions, WhatWaitsForAWorkerThatIsToComeIsLeftWhereItIs) {
  c.run("SELECT count(start_workflow('nobodys', '{}', 'n' || n)) FROM generate_series(1, 1500) n");
  c.run("SELECT end_session(1, false, false)");
  const std::string before = c.run("SELECT md5(string_agg(id || ':' || route_id, ',' ORDER BY id)) FROM pokes");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(c.run("SELECT forward_pokes()"), "0");
  EXPECT_EQ(c.run("SELECT md5(string_agg(id || ':' || route_id, ',' ORDER BY id)) FROM pokes"), before);
}

TEST_F(Versions, AStrayInTheMiddleOfALongQueueIsFoundInTheEnd) {
  pinned();
  const auto queue = [this](int from, int to) {  // each start a transaction of its own: a stretch begins at one
    c.run("DO $$ BEGIN FOR n IN " + std::to_string(from) + " .. " + std::to_string(to) +
          " LOOP PERFORM start_workflow('nobodys', '{}', 'n' || n); COMMIT; END LOOP; END $$");
  };
  queue(1, 1100);
  c.run("INSERT INTO pokes (route_id, lane, instance_id) VALUES (route_id('default', 'nobodys'), '5', 'i1')");
  queue(1101, 1300);
  int looks = 0;  // each finds it with a probability of a third, or better
  while (c.run("SELECT forward_pokes()") == "0" && ++looks < 200) {
  }
  EXPECT_EQ(at(), "v1|v1|v1");
}


// ------------------------------------------------------------------------------------------------- in every order

// A worker of v1 (or of v2) does something that changes the route, in the stages of commit_runs; a publisher executes and
// commits at any of them, and a worker of v2 looks at any of them.
class PinInterleavings : public Versions {
 protected:
  static constexpr const char* kSteps[] = {"-- 1. Lock and fence.", "-- 2. Write.", "-- 3. Look and let go."};
  std::vector<std::unique_ptr<Gate>> gates;
  Step forwarder{schema};
  bool forwards = true;

  void SetUp() override {
    Versions::SetUp();
    for (int n = 0; const char* place : kSteps) {
      const std::string name = "stop " + std::to_string(n++);
      schema.patch("commit_runs", place, "PERFORM stop_at('" + name + "');\n  " + place);
      gates.push_back(std::make_unique<Gate>(schema, name));
    }
  }

  // Everybody looks until nothing moves any more; a lease that v1 or v2 has is let go. Returns how often the message arrived.
  int drain(const std::string& id) {
    int arrived = 0;
    for (int round = 0; round < 6; ++round) {
      if (forwards) forwarder.run("SELECT forward_pokes()");
      for (const int session : {2, 1}) {
        claimed(session == 1 ? a : b, session);
        const std::string token = c.run("SELECT lease_token FROM instances WHERE instance_id = '" + id + "' AND session_id = " + std::to_string(session));
        if (token.empty()) continue;
        const std::string rows = c.run("SELECT string_agg(id::text, ',') FROM inbox WHERE NOT seen AND instance_id = '" + id + "'");
        arrived += std::stoi(c.run("SELECT count(*) FROM inbox WHERE NOT seen AND kind = 2 AND instance_id = '" + id + "'"));
        c.run("DELETE FROM inbox WHERE id = ANY ('{" + rows + "}')");
        commits(session == 1 ? a : b, session, {.id = id, .token = std::stoll(token)});
      }
    }
    return arrived;
  }

  // The orders in which the message did not arrive exactly once.
  std::string sweep(const std::function<std::string(const std::string&)>& prepare) {
    std::string bad;
    int number = 0;
    constexpr int kStages = 6;
    for (int publish = 0; publish < kStages; ++publish) {
      for (int publisher_commits = publish; publisher_commits < kStages; ++publisher_commits) {
        for (int looks = publisher_commits; looks < kStages; ++looks) {
          const std::string id = "i" + std::to_string(++number);
          for (const auto& gate : gates) gate->open();
          const std::string sql = prepare(id);
          for (const auto& gate : gates) gate->close();
          const auto beside = [&](int stage) {
            if (stage == publish) other.run("BEGIN; " + tell(id));
            if (stage == publisher_commits) other.run("COMMIT");
            if (stage == looks) b.run(claim_at("v2", 2));
          };
          beside(0);
          a.run("BEGIN");
          a.send(sql);
          for (int stage = 1; const auto& gate : gates) {
            a.expect_blocked();
            beside(stage++);
            gate->open();
          }
          a.collect();
          beside(4);
          a.run("COMMIT");
          beside(5);
          const std::string broken = invariants();
          const int arrived = drain(id);
          if (arrived != 1 || !broken.empty()) {
            bad += "publish at " + std::to_string(publish) + ", commit at " + std::to_string(publisher_commits) + ", look at " +
                   std::to_string(looks) + ": arrived " + std::to_string(arrived) + " times " + broken + "\n";
          }
          c.run("DELETE FROM instances; DELETE FROM inbox; DELETE FROM pokes; DELETE FROM history_archive; DELETE FROM former_generations");
        }
      }
    }
    return bad;
  }
  std::string pins(const std::string& id) {
    c.run(start(id));
    claimed(a, 1);
    return commit(1, {began(id)}, 100, "v1");
  }
  std::string recurs(const std::string& id) {
    pinned(id);
    c.run("INSERT INTO inbox (instance_id, kind, data) VALUES ('" + id + "', 7, '{}')");
    c.run("INSERT INTO pokes (route_id, lane, instance_id) SELECT route_id, lane, instance_id FROM instances WHERE instance_id = '" + id + "'");
    const std::string row = a.run(claim_at("v1", 1, "inbox -> 0 -> 0"));
    return commit(1, {{.id = id, .token = 2, .status = 7, .history = {{2, 0, 19, "", "7"}}, .consumed = {std::stoll(row)}}}, 100, "v1");
  }
};

TEST_F(PinInterleavings, AMessageBesideTheCommitThatPinsArrivesExactlyOnceInEveryOrder) {
  EXPECT_EQ(sweep([this](const std::string& id) { return pins(id); }), "");
}

TEST_F(PinInterleavings, AMessageBesideTheEndOfAGenerationArrivesExactlyOnceInEveryOrder) {
  EXPECT_EQ(sweep([this](const std::string& id) { return recurs(id); }), "");
}

// Only a claim that finds an instance elsewhere passes its poke on: without that, some orders lose it.
TEST_F(PinInterleavings, BrokenAClaimThatDropsWhatIsElsewhereLosesSomeOfThem) {
  forwards = false;
  schema.patch("claim_runs", "v_moved := v_moved || v_elsewhere;", "");
  EXPECT_NE(sweep([this](const std::string& id) { return pins(id); }), "");
}

// ---------------------------------------------------------------------------------------------------------- draining

TEST_F(Versions, ADrainingVersionTakesNothingNewAndGoesOnWithWhatIsPinnedToIt) {
  pinned("old");
  EXPECT_EQ(c.run("SELECT drain_version('v1'), drain_version('v1')"), "t|f");
  c.run(start("new"));
  c.run(tell("old"));
  EXPECT_EQ(claimed(a, 1), "old");
  EXPECT_EQ(claimed(b, 2), "new");
  commits(b, 2, began("new"));
  EXPECT_EQ(at("new"), "v2|v2|");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, WhenAllVersionsDrainAStartWaitsUntilOneGoesOn) {
  c.run("SELECT drain_version('v1'), drain_version('v2')");
  c.run(start("i1"));
  EXPECT_EQ(claimed(a, 1), "");
  // With the marks that the draining claims answered: the poke must not have fallen below them.
  const std::string summary = "SELECT inbox FROM claim_runs(2, " + kRoute + " || route_id('default', 'w', 'v2'), '{0,0}', 9, 9)";
  const std::string marks = b.run("SELECT x.inbox -> 'marks' ->> 0 FROM (" + summary + ") x");
  EXPECT_EQ(marks, "0");
  EXPECT_EQ(b.run("SELECT (x.inbox -> 'marks' ->> 1)::bigint > 0, x.inbox -> 'more' FROM (" + summary + ") x"), "t|false");
  EXPECT_EQ(c.run("SELECT resume_version('v2'), resume_version('v2')"), "t|f");
  EXPECT_EQ(b.run(claim_at("v2", 2, "instance_id", marks + ",0,0")), "i1");
}

TEST_F(Versions, AWorkerWithoutAVersionIsNoneThatDrains) {
  c.run("SELECT drain_version('v1'), drain_version('v2')");
  other.run(start_session(3));
  c.run(start("i1"));
  EXPECT_EQ(claimed(a, 1), "");
  EXPECT_EQ(other.run(claim(3, "instance_id")), "i1");
}

TEST_F(Versions, WhatRecursWhileItsVersionDrainsGoesToAnother) {
  pinned();
  c.run("SELECT drain_version('v1')");
  c.run(tell("i1"));
  EXPECT_EQ(claimed(a, 1), "i1");
  commits(a, 1, {.id = "i1", .token = 2, .status = 7, .history = {{2, 0, 19, "", "7"}}});
  EXPECT_EQ(claimed(a, 1), "");
  EXPECT_EQ(claimed(b, 2), "i1");
}

TEST_F(Versions, AClaimThatBeganBeforeTheDrainMayTakeOneMoreAndPinsIt) {
  c.run(start("i1"));
  schema.patch("claim_runs", "-- Lock. No filter", "PERFORM stop_at('locks');\n    -- Lock. No filter");
  Gate gate(schema, "locks");
  a.send(claim_at("v1", 1, "instance_id"));
  a.expect_blocked();
  EXPECT_EQ(c.run("SELECT drain_version('v1')"), "t") << "and does not wait for it";
  gate.open();
  EXPECT_EQ(a.collect(), "i1");
  commits(a, 1, began("i1"));
  EXPECT_EQ(at(), "v1|v1|");
  c.run(start("i2"));
  EXPECT_EQ(claimed(a, 1), "");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, ADrainInATransactionThatStaysOpenHoldsUpNoWorker) {
  pinned("old");
  for (const std::string call : {"drain_version('v1')", "resume_version('v1')"}) {
    c.run("BEGIN; SELECT " + call);
    other.run(start("new"));
    other.run(tell("old"));
    for (Step* step : {&a, &b}) step->run("SET lock_timeout = '20s'; BEGIN");
    EXPECT_EQ(claimed(a, 1), call.starts_with("drain") ? "new\nold" : "old") << call;
    claimed(b, 2);
    for (Step* step : {&a, &b}) step->run("ROLLBACK");
    c.run("COMMIT");
  }
}

TEST_F(Versions, DrainingAndResumingWakeEveryWorkerAndNameNoInstance) {
  other.run("LISTEN " + schema.name() + "_workflow_resumable");
  c.run("SELECT drain_version('v1')");
  c.run("SELECT resume_version('v1')");
  const auto heard = other.notifications();
  ASSERT_EQ(heard.size(), 2u);
  for (const auto& [channel, payload] : heard) EXPECT_EQ(payload, R"({"version": "v1"})");
}

// ------------------------------------------------------------------------------------------ moving an instance

TEST_F(Versions, AnOperatorMovesAnInstanceAndWhatItHadNotReadMovesToo) {
  pinned();
  c.run(tell("i1"));
  EXPECT_EQ(c.run("SELECT set_workflow_version('i1', 'v2'), set_workflow_version('i1', 'v2')"), "t|f");
  EXPECT_EQ(claimed(b, 2, "instance_id, inbox -> 0 -> 3"), "i1|\"c\"");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(claimed(a, 1), "");
}

TEST_F(Versions, OneThatIsHeldGoesOnWithItsHolderAndIsTheOthersWhenThatLetsGo) {
  pinned();
  c.run(tell("i1"));
  claimed(a, 1);
  c.run("SELECT set_workflow_version('i1', 'v2')");
  c.run(tell("i1"));
  EXPECT_EQ(claimed(b, 2), "");
  const std::string first = c.run("SELECT min(id) FROM inbox");
  EXPECT_THAT(commits(a, 1, {.id = "i1", .token = 2, .history = {{2, 1, 8, "c", "1"}}, .consumed = {std::stoll(first)}}), StartsWith("1|t|f|"))
      << "there was more to read";
  const std::string second = c.run("SELECT min(id) FROM inbox");
  EXPECT_EQ(commits(a, 1, {.id = "i1", .token = 2, .history = {{3, 1, 8, "c", "1"}}, .consumed = {std::stoll(second)}}), "1|t|t|[]");
  EXPECT_EQ(c.run("SELECT version FROM workflow_instances"), "v2");
  c.run(tell("i1"));
  EXPECT_EQ(claimed(a, 1), "");
  EXPECT_EQ(claimed(b, 2), "i1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, AHoldersDeathAfterTheMoveLeavesItToTheOther) {
  pinned();
  c.run(tell("i1"));
  claimed(a, 1);
  c.run("SELECT set_workflow_version('i1', 'v2')");
  c.run("SELECT end_session(1, true, false)");
  EXPECT_EQ(claimed(b, 2, "instance_id, crashes"), "i1|1");
}

TEST_F(Versions, AMessageBesideAMoveArrivesAtTheVersionItWasMovedTo) {
  pinned();
  other.run("BEGIN; " + tell("i1"));
  c.run("SELECT set_workflow_version('i1', 'v2')");
  EXPECT_EQ(claimed(b, 2), "") << "nothing to read yet";
  c.run("SELECT end_session(1, false, false)");
  other.run("COMMIT");
  EXPECT_EQ(at(), "v2|v2|v1");
  c.run("SELECT forward_pokes()");
  EXPECT_EQ(claimed(b, 2), "i1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, AParkedOneIsMovedAndResumedByTheOtherVersion) {
  pinned();
  c.run(tell("i1"));
  claimed(a, 1);
  commits(a, 1, {.id = "i1", .token = 2, .status = 5, .note = "mismatch: at op 3"});
  c.run("SELECT set_workflow_version('i1', 'v2')");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(c.run("SELECT status FROM workflow_instances"), "stuck");
  EXPECT_EQ(claimed(b, 2), "");
  EXPECT_EQ(c.run("SELECT resume_workflow('i1')"), "t");
  EXPECT_EQ(claimed(b, 2), "i1");
}

TEST_F(Versions, AWorkerThatStartsResumesWhatIsParkedAtItsVersionAndWhatIsNotPinned) {
  pinned("old");
  pinned("mine");
  c.run(start("new"));
  for (const std::string id : {"old", "mine"}) c.run(tell(id));
  claimed(a, 1);
  const auto park = [this](const std::string& id, int token) {
    commits(a, 1, {.id = id, .token = token, .status = 5, .note = "mismatch: at op 3"});
  };
  park("old", 2), park("mine", 2), park("new", 1);
  c.run("SELECT set_workflow_version('mine', 'v3')");
  other.run(start_session(3, "{}", "1 hour", "v3"));
  EXPECT_EQ(c.run("SELECT instance_id, status FROM workflow_instances ORDER BY 1"), "mine|running\nnew|running\nold|stuck");
  EXPECT_EQ(other.run(claim_at("v3", 3, "instance_id")), "mine\nnew");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Versions, AMoveIsRefusedByName) {
  pinned();
  EXPECT_EQ(c.error("SELECT set_workflow_version('i1', NULL)"), "22023 version: must not be NULL");
  EXPECT_EQ(c.error("SELECT set_workflow_version('i1', '')"), "22023 version: must not be empty");
  EXPECT_EQ(c.error("SELECT set_workflow_version('nobody', 'v2')"), "22023 instance_id: there is no instance 'nobody'");
  EXPECT_EQ(c.error("SELECT drain_version('')"), "22023 version: must not be empty");
  EXPECT_EQ(c.error("SELECT resume_version(NULL)"), "22023 version: must not be NULL");
  EXPECT_EQ(c.error(start_session(9, "{}", "1 hour", "a\nb")), "22023 version: must not contain control characters");
  c.run(tell("i1"));
  claimed(a, 1);
  commits(a, 1, {.id = "i1", .token = 2, .status = 2, .history = {{2, 0, 16, "", "1"}}});
  EXPECT_EQ(c.error("SELECT set_workflow_version('i1', 'v2')"), "55000 instance_id: 'i1' has finished: completed");
}

TEST_F(Versions, WhoLeavesAMoveOpenIsCutOffSoon) {
  pinned();
  const std::string before = c.run("SHOW idle_in_transaction_session_timeout");
  EXPECT_EQ(c.run("BEGIN; SELECT set_workflow_version('i1', 'v2'); SHOW idle_in_transaction_session_timeout"), "5s");
  c.run("ROLLBACK");
  EXPECT_EQ(c.run("SHOW idle_in_transaction_session_timeout"), before) << "of that transaction alone";
  c.run("SET idle_in_transaction_session_timeout = '1s'");
  EXPECT_EQ(c.run("BEGIN; SELECT set_workflow_version('i1', 'v2'); SHOW idle_in_transaction_session_timeout"), "1s");
  c.run("ROLLBACK");
}

TEST_F(Versions, ApplicationsMayReadOfVersionsAndNotDecideAboutThem) {
  c.run("SET ROLE " + schema.name() + "_client");
  for (const std::string call : {"drain_version('v1')", "resume_version('v1')", "set_workflow_version('i1', 'v1')", "forward_pokes()"}) {
    EXPECT_THAT(c.error("SELECT " + call), StartsWith("42501")) << call;
  }
  c.run("SELECT * FROM worker_versions");
  c.run("RESET ROLE");
  c.run("SET ROLE " + schema.name() + "_worker");
  c.run("SELECT drain_version('v1'), resume_version('v1'), forward_pokes()");
  c.run("RESET ROLE");
}

TEST_F(Versions, WhatRunsWhereIsVisible) {
  pinned("i1");
  pinned("i2");
  c.run(start("i3"));
  c.run("SELECT set_workflow_version('i2', 'v0'), drain_version('v1'), drain_version('v9')");
  EXPECT_EQ(c.run("SELECT version, workers, instances, draining_since IS NOT NULL FROM worker_versions ORDER BY 1"),
            "v0|0|1|f\nv1|1|1|t\nv2|1|0|f\nv9|0|0|t");
  EXPECT_EQ(c.run("SELECT version, draining, workflows FROM workers ORDER BY session_id"), "v1|t|{default/w}\nv2|f|{default/w}");
  EXPECT_EQ(c.run("SELECT instance_id, version, queue, workflow_name FROM workflow_instances ORDER BY 1"),
            "i1|v1|default|w\ni2|v0|default|w\ni3||default|w");
}

}  // namespace
}  // namespace romancy::test
