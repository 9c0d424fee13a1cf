// The holes H1 to H14 (docs/adr/0001): interleavings that lost or doubled work in simpler versions.
//
// Each is a script over two or three connections, run once on our functions and once on the broken variant that the
// hole is about, so that the script is known to find it. The names say what holds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kLost = "I1: an unread inbox row of an active instance implies a lease or a poke";
constexpr const char* kNobody = "I2: a lease implies a session";

class Holes : public Storage {
 protected:
  // `b` holds nothing yet and claims as session 2.
  void other_session() { b.run(start_session(2)); }
};

// H1. The claim has its snapshot; the holder consumes both messages and lets go; only then does the claim lock.
class HoleH1 : public Holes {
 protected:
  // Returns what the claim got: "<messages>|<history rows>", or nothing.
  std::string script(const std::string& claim_that_stops_before_its_lock) {
    leased();
    other_session();
    c.run(tell("i1"));
    c.run(tell("i1"));
    Gate gate(schema, "before lock");
    b.send(claim_that_stops_before_its_lock);
    b.expect_blocked();
    a.run(commit(1, {{.id = "i1",
                      .history = {{2, 1, 8, "c", "{}"}, {3, 2, 8, "c", "{}"}},
                      .consumed = {2, 3}}}));
    gate.open();
    return b.collect();
  }
};

TEST_F(HoleH1, AClaimReadsInboxAndHistoryAfterItHasTheLock) {
  schema.patch("claim_runs", "-- Lock. No filter", "PERFORM stop_at('before lock');\n    -- Lock. No filter");
  EXPECT_EQ(script(claim(2, "inbox, history")), "");
  EXPECT_EQ(invariants(), "");
}

TEST_F(HoleH1, BrokenAOneStatementClaimReadsThePast) {
  const std::string one_statement = R"sql(
    WITH locked AS (
      SELECT l.instance_id, l.session_id
        FROM instances l
       WHERE l.instance_id = (SELECT 'i1' FROM (SELECT stop_at('before lock') OFFSET 0) stopped)
         FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE instances i SET session_id = 2, lease_token = i.lease_token + 1
      FROM locked
     WHERE i.instance_id = locked.instance_id AND locked.session_id IS NULL
       AND EXISTS (SELECT FROM inbox b WHERE b.instance_id = i.instance_id AND NOT b.seen)
    RETURNING (SELECT count(*) FROM inbox b WHERE b.instance_id = i.instance_id),
              (SELECT max(seq) FROM history h WHERE h.instance_id = i.instance_id))sql";
  EXPECT_EQ(script(one_statement), "2|1") << "both messages, consumed by now, and only the history before them";
}

// H2. A message comes during the run, a claim takes its poke; then the run lets go.
class HoleH2 : public Holes {
 protected:
  std::string script() {
    leased();
    other_session();
    c.run(tell("i1"));
    EXPECT_EQ(b.run(claim(2)), "");  // leased: the poke goes
    return a.run(commit(1, {{.id = "i1"}}));
  }
};

TEST_F(HoleH2, ASuspendLooksAndKeepsTheLeaseWhenThereIsAMessage) {
  EXPECT_THAT(script(), AllOf(StartsWith("1|t|f|"), HasSubstr("\"c\", 1")));
  EXPECT_EQ(invariants(), "");
}

TEST_F(HoleH2, BrokenASuspendThatDoesNotLookLosesTheMessage) {
  schema.patch("commit_runs",
               "WHEN (SELECT true FROM inbox b WHERE b.instance_id = x.id AND NOT b.seen LIMIT 1) THEN v_session", "");
  EXPECT_EQ(script(), "1|t|t|[]");
  EXPECT_EQ(invariants(), kLost);
}

// H3. The holder has looked (nothing there) but not committed; a message comes; a claim takes its poke.
class HoleH3 : public Holes {
 protected:
  void script() {
    leased();
    other_session();
    a.run("BEGIN");
    EXPECT_EQ(a.run(commit(1, {{.id = "i1"}})), "1|t|t|[]");
    c.run(tell("i1"));
    EXPECT_EQ(b.run(claim(2)), "");
    a.run("COMMIT");
  }
};

TEST_F(HoleH3, AClaimDropsNoPokeOfAnInstanceItCouldNotLock) {
  script();
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(b.run(claim(2)), "i1|2");
}

TEST_F(HoleH3, BrokenAClaimThatOnlyReadsTheOwnerDropsThePoke) {
  schema.patch("claim_runs", "FOR NO KEY UPDATE SKIP LOCKED) i", ") i");
  script();
  EXPECT_EQ(invariants(), kLost);
}

// H4. The claim holds the row lock; the holder's commit waits for it; a message comes; the claim drops its poke.
class HoleH4 : public Holes {
 protected:
  std::string script() {
    schema.patch("claim_runs", "-- Leased or stuck: nothing.",
                 "PERFORM stop_at('locked');\n    -- Leased or stuck: nothing.");
    leased();
    other_session();
    c.run(tell("i1", "early"));  // its poke brings the claim to the instance; the holder reads it by looking
    a.run(commit(1, {{.id = "i1", .release = false}}));
    Gate gate(schema, "locked");
    b.send(claim(2, "instance_id", "0", 1));
    b.expect_blocked();
    a.send(commit(1, {{.id = "i1", .history = {{2, 1, 8, "early", "{}"}}, .consumed = {2}}}));
    a.expect_blocked();
    c.run(tell("i1", "late"));
    gate.open();
    EXPECT_EQ(b.collect(), "");
    EXPECT_EQ(c.run("SELECT count(*) FROM pokes"), "0") << "the claim's second pass took the late poke";
    return a.collect();
  }
};

TEST_F(HoleH4, ACommitLooksInALaterStatementThanItLocks) {
  EXPECT_THAT(script(), AllOf(StartsWith("1|t|f|"), HasSubstr("\"late\"")));
  EXPECT_EQ(invariants(), "");
}

TEST_F(HoleH4, BrokenACommitThatLocksAndLooksInOneStatementLosesTheMessage) {
  schema.patch("commit_runs", "FOR NO KEY UPDATE", "");
  EXPECT_EQ(script(), "1|t|t|[]");
  EXPECT_EQ(invariants(), kLost);
}

// H5. As H3: the claim has to skip the instance that is being let go, and no other hint will come.
class HoleH5 : public Holes {
 protected:
  std::string script() {
    leased();
    other_session();
    a.run("BEGIN");
    a.run(commit(1, {{.id = "i1"}}));
    c.run(tell("i1"));
    std::string skipped = b.run(claim_summary(2, "skipped"));
    a.run("COMMIT");
    return skipped;
  }
};

TEST_F(HoleH5, WhoSkipsIsToldAndComesBack) {
  EXPECT_EQ(script(), "1");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(b.run(claim(2)), "i1|2");
}

TEST_F(HoleH5, ASkippedPokeGoesToTheTailWithoutAHint) {
  Step ear(schema);
  ear.run("LISTEN " + schema.name() + "_workflow_resumable");
  script();
  EXPECT_EQ(ear.notifications().size(), 2u) << "the start and the message, no more";
  EXPECT_EQ(c.run("SELECT count(*) FROM pokes"), "1");
}

// A lease keeps others away, and its holder looks at its next commit, an activity later perhaps. The hint may have gone to
// another process, whose claim takes the poke: then the claim says it to all.
TEST_F(Holes, WhoTakesThePokeOfALeasedInstanceTellsItsHolder) {
  leased();
  other_session();
  Step ear(schema);
  c.run(tell("i1"));
  ear.run("LISTEN " + schema.name() + "_workflow_resumable");
  EXPECT_EQ(b.run(claim(2)), "");
  const auto heard = ear.notifications();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].second, R"({"workflow_name": "w", "leased_instance_id": "i1"})");
  c.run("UPDATE inbox SET seen = true");
  c.run("INSERT INTO pokes (route_id, lane, instance_id) SELECT route_id, lane, instance_id FROM instances");
  EXPECT_EQ(b.run(claim(2)), "");
  EXPECT_EQ(ear.notifications().size(), 0u) << "there is nothing to read for it";
}

TEST_F(HoleH5, AClaimDoesNotTakeAgainWhatItPutBack) {
  leased();
  other_session();
  for (int i = 0; i < 5; ++i) c.run(tell("i1"));
  a.run("BEGIN");
  a.run("SELECT 1 FROM instances FOR NO KEY UPDATE");
  EXPECT_EQ(b.run(claim_summary(2, "taken", "0", 1)), "5") << "each once, however small its appetite";
  a.run("COMMIT");
}

TEST_F(HoleH5, BrokenWhoSkipsAndDropsThePokeLosesTheMessage) {
  schema.patch("claim_runs", "ANY (v_skipped || v_surplus)", "ANY (v_surplus)");
  script();
  EXPECT_EQ(invariants(), kLost);
}

// H6. An application's transaction that published stays open; the instance has something else to do.
class HoleH6 : public Holes {
 protected:
  std::string script() {
    other_session();
    c.run(start("i1"));
    a.run("BEGIN");
    a.run(tell("i1"));
    std::string claimed = b.run(claim(2));
    a.run("COMMIT");
    return claimed;
  }
};

TEST_F(HoleH6, AnOpenPublisherHoldsUpNobody) { EXPECT_EQ(script(), "i1|1"); }

TEST_F(HoleH6, BrokenAForeignKeyAndForUpdateWaitForTheApplication) {
  schema.run("ALTER TABLE inbox ADD FOREIGN KEY (instance_id) REFERENCES instances");
  schema.patch("claim_runs", "FOR NO KEY UPDATE SKIP LOCKED) i", "FOR UPDATE SKIP LOCKED) i");
  EXPECT_EQ(script(), "");
}

// H7. A publisher to a competing channel and a run that begins to wait for a message of it, side by side.
class HoleH7 : public Holes {
 protected:
  void script() {
    leased();
    a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"jobs", true, 2}}}}));
    a.run("BEGIN");
    a.run(commit(1, {{.id = "i1", .waits = {{5, "jobs"}}}}));
    c.run("BEGIN");
    c.run("SELECT publish('jobs', '1')");
    a.run("COMMIT");
    c.run("COMMIT");
  }
};

TEST_F(HoleH7, APublisherAndAReceiverSideBySideFindEachOther) {
  script();
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 2, inbox -> 0 ->> 4")), "i1|5|1");
}

TEST_F(HoleH7, BrokenEachLooksForTheOtherAndBothWaitForEver) {
  schema.patch("poke_channel", "INSERT INTO pokes (route_id, lane, instance_id) VALUES (0, '5', v_channel);",
               "PERFORM match_channels(ARRAY[v_channel]);");
  schema.patch("commit_runs", "INSERT INTO pokes (route_id, lane, instance_id)\n      SELECT DISTINCT 0, '5', w.channel\n"
               "        FROM waiting w;", "SELECT count(*) INTO v_hints FROM waiting w;\n"
               "      PERFORM match_channels(w_channel);");
  schema.patch("match_channels", "NOT pg_try_advisory_xact_lock(v_class, hashtext(v_channel))", "false");
  script();
  EXPECT_THAT(invariants(), StartsWith("I6: a queued message and a wait of one channel imply a channel poke"));
  EXPECT_EQ(a.run(claim(1)), "");
}

// H8. A subscription is committed after the snapshot of a publisher was taken.
class HoleH8 : public Holes {
 protected:
  // Who got it: claims as session 1.
  std::string script(const std::string& level) {
    leased();
    c.run("BEGIN ISOLATION LEVEL " + level + "; SELECT count(*) FROM instances");
    a.run(commit(1, {{.id = "i1", .subscriptions = {{"news", true}}}}));
    EXPECT_EQ(c.run("SELECT publish('news', '1') IS NOT NULL"), "t");
    c.run("COMMIT");
    return a.run(claim(1, "instance_id, inbox -> 0 ->> 4"));
  }
};

TEST_F(HoleH8, ASubscriberYoungerThanThePublishersSnapshotGetsTheMessage) {
  EXPECT_EQ(script("REPEATABLE READ"), "i1|1");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(counts({"deferred_messages", "pokes"}), "0|0");
}

TEST_F(HoleH8, AlsoOfASerializableOne) { EXPECT_EQ(script("SERIALIZABLE"), "i1|1"); }

TEST_F(HoleH8, BrokenAPublisherThatLooksWithItsOldSnapshotReachesNobody) {
  schema.patch("publish", "snapshot_may_be_old()", "false");
  EXPECT_EQ(script("REPEATABLE READ"), "");
}

// H9. A claim is under way when its session is ended.
class HoleH9 : public Holes {
 protected:
  void script(bool waits) {
    b.run(start_session(2));
    c.run(start("i1"));
    b.run("BEGIN");
    EXPECT_EQ(b.run(claim(2)), "i1|1");
    a.send("SELECT end_session(2, true, false)");
    if (waits) {
      a.expect_blocked();
      b.run("COMMIT");
      EXPECT_EQ(a.collect(), "1");
    } else {
      EXPECT_EQ(a.collect(), "0");
      b.run("COMMIT");
    }
  }
};

TEST_F(HoleH9, TheEndOfASessionWaitsForItsClaimAndFreesWhatItTook) {
  script(true);
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(c.run("SELECT session_id IS NULL FROM instances"), "t");
  EXPECT_EQ(b.run(claim_summary(2, "over")), "true");
}

TEST_F(HoleH9, BrokenAClaimWithoutTheSessionsLockIsOwnedByTheDead) {
  schema.patch("claim_runs", "v_session FOR KEY SHARE", "v_session");
  script(false);
  EXPECT_THAT(invariants(), StartsWith(kNobody));
}

// H10. A claim takes a stale poke, finds nothing to read, and has not committed when a message comes.
class HoleH10 : public Holes {
 protected:
  void script() {
    leased();
    other_session();
    c.run(tell("i1"));
    a.run(commit(1, {{.id = "i1"}}));                      // looks, keeps the lease, and so gets the message
    a.run(commit(1, {{.id = "i1", .consumed = {2}}}));     // its poke is still there
    EXPECT_EQ(c.run("SELECT count(*) FROM pokes"), "1");
    b.run("BEGIN");
    EXPECT_EQ(b.run(claim(2)), "");
    c.run(tell("i1"));
    b.run("COMMIT");
  }
};

TEST_F(HoleH10, APublisherPokesWhateverIsThereAlready) {
  script();
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(b.run(claim(2)), "i1|2");
}

TEST_F(HoleH10, BrokenAPublisherThatSparesItsPokeLosesTheMessage) {
  schema.patch("send_message", "SELECT i.route_id, i.lane, i.instance_id\n      FROM instances i\n     WHERE",
               "SELECT i.route_id, i.lane, i.instance_id\n      FROM instances i\n     WHERE NOT EXISTS "
               "(SELECT FROM pokes p WHERE p.instance_id = i.instance_id) AND");
  script();
  EXPECT_EQ(invariants(), kLost);
}

// H11. The message with the lower id commits later.
TEST_F(Holes, H11MessagesThatCommitOutOfIdOrderAllArrive) {
  leased();
  other_session();
  c.run("BEGIN");
  c.run(tell("i1", "low"));
  Step other(schema);
  other.run(tell("i1", "high"));
  EXPECT_THAT(a.run(commit(1, {{.id = "i1"}})), AllOf(HasSubstr("\"high\""), testing::Not(HasSubstr("\"low\""))));
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .consumed = {3}}})), "1|t|t|[]");
  c.run("COMMIT");
  EXPECT_EQ(b.run(claim(2, "inbox -> 0 -> 0, inbox -> 0 ->> 3")), "2|low");
}

TEST_F(Holes, H11BrokenAReaderWithACursorNeverSeesTheLowerId) {
  leased();
  c.run("BEGIN");
  c.run(tell("i1", "low"));
  Step other(schema);
  other.run(tell("i1", "high"));
  const std::string cursor = a.run("SELECT max(id) FROM inbox WHERE instance_id = 'i1'");
  c.run("COMMIT");
  EXPECT_EQ(a.run("SELECT count(*) FROM inbox WHERE instance_id = 'i1' AND id > " + cursor), "0");
}

// H12. All was consumed and written down, an activity is under way, and then the session ends.
class HoleH12 : public Holes {
 protected:
  std::string script() {
    leased();
    EXPECT_EQ(c.run("SELECT count(*) FROM inbox"), "0");
    other_session();
    EXPECT_EQ(c.run("SELECT end_session(1, true, false)"), "1");
    return b.run(claim(2, "instance_id, lease_token, crashes, fresh, jsonb_array_length(history)"));
  }
};

TEST_F(HoleH12, ARunWithNothingUnreadGoesOnAfterItsSession) { EXPECT_EQ(script(), "i1|2|1|f|1"); }

TEST_F(HoleH12, BrokenABarePokeFindsNothingToDo) {
  schema.patch("free_session", "FROM unnest(v_ids) x", "FROM unnest(v_ids) x WHERE false");
  EXPECT_EQ(script(), "");
  EXPECT_EQ(c.run("SELECT count(*) FROM pokes"), "0") << "and nobody will ever look again";
}

// H13. The server crashes after an asynchronous claim was answered: its commit is lost, and its token comes again.
class HoleH13 : public Holes {
 protected:
  std::string script() {
    a.run(start_session(1));
    c.run(start("i1"));
    a.run("BEGIN");
    EXPECT_EQ(a.run(claim(1)), "i1|1");
    a.run("ROLLBACK");  // what the crash did
    other_session();
    EXPECT_EQ(b.run(claim(2)), "i1|1") << "the same token";
    return a.run(commit(1, {{.id = "i1", .history = {{1, 0, 1, "", "{}"}}}}));
  }
};

TEST_F(HoleH13, TheFenceIsSessionAndTokenBecauseTokensComeAgain) {
  EXPECT_EQ(script(), "1|f|f|[]");
  EXPECT_EQ(c.run("SELECT count(*) FROM history"), "0");
  EXPECT_EQ(c.run("SELECT session_id FROM instances"), "2");
}

TEST_F(HoleH13, BrokenATokenAloneLetsTheZombieIn) {
  schema.patch("commit_runs", "i.session_id = v_session\n                          AND", "");
  EXPECT_THAT(script(), StartsWith("1|t|"));
}

// H14. Another claim has the last poke in hand when the low-water mark is read, and then rolls back.
class HoleH14 : public Holes {
 protected:
  // Other tests' writers, older than the pokes, hold back every mark: waits until they have ended.
  std::string pokes_alone() {
    const std::string xid = c.run("SELECT max(xid::text) FROM pokes");
    c.wait_until("SELECT pg_snapshot_xmin(pg_current_snapshot()) > '" + xid + "'");
    return xid;
  }
  std::string script() {
    a.run(start_session(1));
    other_session();
    c.run(start("i1"));
    pokes_alone();
    a.run("BEGIN");
    EXPECT_EQ(a.run(claim(1)), "i1|1");
    const std::string mark = b.run("SELECT inbox -> 'marks' ->> 0 FROM claim_runs(2, " + kRoute + ", '{0}', 10, 100)");
    a.run("ROLLBACK");
    return b.run(claim(2, "instance_id", mark));
  }
};

TEST_F(HoleH14, TheLowWaterMarkNeverPassesAPokeInAnotherClaimsHand) { EXPECT_EQ(script(), "i1"); }

TEST_F(HoleH14, BrokenAMarkReadWithSkipLockedPassesIt) {
  schema.patch("claim_runs", "LIMIT 1) first", "LIMIT 1 FOR UPDATE SKIP LOCKED) first");
  EXPECT_EQ(script(), "");
  EXPECT_EQ(b.run(claim(2)), "i1|1") << "only the fallback sweep, from 0, finds it";
}

TEST_F(HoleH14, TheMarkPassesWhatIsGoneAndAnOldReaderDoesNotHoldIt) {
  b.run(start_session(2));
  a.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pokes");  // a dump, for hours
  c.run(start("i1"));
  const std::string poke = pokes_alone();
  EXPECT_EQ(b.run(claim(2)), "i1|1");
  EXPECT_EQ(b.run("SELECT (inbox -> 'marks' ->> 0)::xid8 > '" + poke + "' FROM claim_runs(2, " + kRoute + ", '{0}', 1, 1)"),
            "t");
  a.run("COMMIT");
}

TEST_F(HoleH14, TheMarkWaitsForAWriterThatHasNotCommitted) {
  b.run(start_session(2));
  a.run("BEGIN");
  a.run(start("early"));
  c.run(start("late"));
  const std::string mark = b.run("SELECT inbox -> 'marks' ->> 0 FROM claim_runs(2, " + kRoute + ", '{0}', 10, 100) "
                                 "WHERE instance_id IS NULL");
  a.run("COMMIT");
  EXPECT_EQ(b.run(claim(2, "instance_id", mark)), "early");
}

}  // namespace
}  // namespace romancy::test
