// Every interleaving of a publisher with a suspend, and with a claim, and with another claim beside both.
//
// The suspend (or claim) is stopped at each of its steps; at each stop the publisher may execute its statement, may
// commit, and another worker may claim. Whatever the order: in the end the message has arrived exactly once.
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

constexpr int kNever = 99;

// At which stage of the stopped function each of these happens. Stages: 0 before it is sent, one a stop in its text,
// then: it has answered but not committed, it has committed.
struct Order {
  int publish, publisher_commits, other_claims;
};

class Interleavings : public Storage {
 protected:
  Step other{schema};
  int stages = 0;
  std::vector<std::string> stops;
  std::vector<std::unique_ptr<Gate>> gates;

  void stop_before(const std::string& function, const std::vector<std::string>& places) {
    copy_claim();
    for (const auto& place : places) {
      const std::string name = "stop " + std::to_string(stops.size());
      schema.patch(function, place, "PERFORM stop_at('" + name + "');\n  " + place);
      stops.push_back(name);
      gates.push_back(std::make_unique<Gate>(schema, name));
    }
    stages = static_cast<int>(stops.size()) + 3;
  }

  // The claim without stops, for everybody but the one that is driven.
  static std::string plain_claim(int session) {
    std::string sql = claim(session);
    return sql.replace(sql.find("claim_runs"), 10, "plain_claim");
  }

  // Drives `statement` (as connection a) through its stages, and the others beside it.
  void drive(const std::string& id, const std::string& statement, const Order& order) {
    const auto beside = [&](int stage) {
      if (stage == order.publish) c.run("BEGIN; " + tell(id));
      if (stage == order.publisher_commits) c.run("COMMIT");
      if (stage == order.other_claims) other.run(plain_claim(2));
    };
    for (const auto& gate : gates) gate->close();
    beside(0);
    a.run("BEGIN");
    a.send(statement);
    for (std::size_t i = 0; i < stops.size(); ++i) {
      a.expect_blocked();
      beside(static_cast<int>(i) + 1);
      gates[i]->open();
    }
    a.collect();
    beside(static_cast<int>(stops.size()) + 1);
    a.run("COMMIT");
    beside(static_cast<int>(stops.size()) + 2);
  }

  // Lets everything be read, by whoever holds the lease, and counts how often the message arrived.
  int drain(const std::string& id) {
    int arrived = 0;
    for (int round = 0; round < 10; ++round) {
      b.run(plain_claim(3));
      const std::string holder = b.run("SELECT session_id, lease_token FROM instances WHERE instance_id = '" + id +
                                       "' AND session_id IS NOT NULL");
      if (holder.empty()) break;
      const auto bar = holder.find('|');
      std::vector<std::int64_t> ids;
      std::string unread = b.run("SELECT id, kind FROM inbox WHERE instance_id = '" + id + "' AND NOT seen");
      for (std::size_t at = 0; at < unread.size();) {
        const auto end = std::min(unread.find('\n', at), unread.size());
        const std::string line = unread.substr(at, end - at);
        ids.push_back(std::stoll(line));
        arrived += line.ends_with("|2") ? 1 : 0;
        at = end + 1;
      }
      b.run(commit(std::stoll(holder.substr(0, bar)),
                   {{.id = id, .token = std::stoll(holder.substr(bar + 1)), .consumed = ids}}));
    }
    return arrived;
  }

  // All orders; returns those in which the message did not arrive exactly once or an invariant broke.
  std::vector<std::string> sweep(const std::function<std::string(const std::string& id)>& statement) {
    std::vector<std::string> bad;
    int number = 0;
    for (int publish = 0; publish < stages; ++publish) {
      for (int commits = publish; commits < stages; ++commits) {
        for (const int claims : {commits, stages - 1, kNever}) {
          if (claims == stages - 1 && commits == claims) continue;  // the same as the one before
          const std::string id = "i" + std::to_string(++number);
          const std::string sql = statement(id);
          drive(id, sql, {publish, commits, claims});
          const std::string broken = invariants();
          const int arrived = drain(id);
          if (!broken.empty() || arrived != 1)
            bad.push_back("publish at " + std::to_string(publish) + ", commit at " + std::to_string(commits) +
                          ", claim at " + std::to_string(claims) + ": arrived " + std::to_string(arrived) + " times " +
                          broken);
          b.run("DELETE FROM instances; DELETE FROM inbox; DELETE FROM pokes");
        }
      }
    }
    return bad;
  }

  // A session of each connection, and one instance, leased by session 1 and with nothing unread.
  std::string suspend_of(const std::string& id) {
    a.run(start(id));
    const std::string first = a.run(claim(1, "inbox -> 0 -> 0"));
    return commit(1, {{.id = id, .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(first)}}});
  }
  void SetUp() override {
    a.run(start_session(1));
    other.run(start_session(2));
    b.run(start_session(3));
  }
  void copy_claim() {
    const std::string text = b.run("SELECT pg_get_functiondef('claim_runs'::regproc)");
    b.run(std::string(text).replace(text.find("claim_runs("), 11, "plain_claim("));
  }
};

std::string lines(const std::vector<std::string>& bad) {
  std::string all;
  for (const auto& line : bad) all += line + "\n";
  return all;
}

const std::vector<std::string> kCommitSteps = {"-- 1. Lock and fence.", "-- 2. Write.", "-- 3. Look and let go."};
const std::vector<std::string> kClaimSteps = {"-- Lock. No filter", "-- Leased or stuck: nothing.",
                                              "-- Who skips comes back."};

TEST_F(Interleavings, AMessageBesideASuspendArrivesExactlyOnceInEveryOrder) {
  stop_before("commit_runs", kCommitSteps);
  EXPECT_EQ(lines(sweep([this](const std::string& id) { return suspend_of(id); })), "");
}

TEST_F(Interleavings, BrokenAClaimThatOnlyReadsTheOwnerLosesSomeOfThem) {
  schema.patch("claim_runs", "FOR NO KEY UPDATE SKIP LOCKED) i", ") i");
  stop_before("commit_runs", kCommitSteps);
  EXPECT_FALSE(sweep([this](const std::string& id) { return suspend_of(id); }).empty());
}

TEST_F(Interleavings, AMessageBesideAClaimArrivesExactlyOnceInEveryOrder) {
  stop_before("claim_runs", kClaimSteps);
  EXPECT_EQ(lines(sweep([this](const std::string& id) {
              other.run(start(id));
              return claim(1, "instance_id, inbox", "0", 1);
            })),
            "");
}

}  // namespace
}  // namespace romancy::test
