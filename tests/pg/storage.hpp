// storage: the words in which tests of the SQL speak: sessions, claims, commits, as statements for a Step.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/pg_step.hpp"

namespace romancy::test {

// What one run of a batch did. Kinds and statuses are the numbers of resumer/events.hpp.
struct Did {
  struct History {
    std::int64_t seq;
    int op, kind;
    std::string name, data;
  };
  struct Timer {
    int op, kind;
    std::int64_t after_us;
    std::string at;  // instead, when not empty
  };
  struct Subscription {
    std::string channel;
    bool on;
    int mode = 1;  // 2: competing
    int op = 1;
  };
  struct Wait {
    int op;
    std::string channel;
  };
  struct Group {
    std::string name;
    bool on;
  };
  struct Message {
    std::string channel, data, target;  // target empty: broadcast
    std::string group{};
  };

  struct Child {
    int op;  // 0: no child
    std::string id;
    std::string input = "{}";
    bool follows = true;
    std::string workflow = "w";
    std::string lane = "5";
  };
  struct Cancel {
    std::string id, reason;
  };
  struct Task {
    int op;
    std::string activity = "resize";
    std::string queue = "gpu";
    std::string policy{};  // members, instead of the defaults in storage.cpp
    std::string input = "{}";
  };
  struct Stop {
    int op;
    bool wanted;
  };

  std::string id;
  std::int64_t token = 1;
  int status = 1;
  bool release = true;
  std::string note{};
  std::vector<History> history{};
  std::vector<std::int64_t> consumed{}, seen{}, back{};
  std::vector<Timer> timers{};
  std::vector<int> over{};
  std::vector<Wait> waits{};
  std::vector<Subscription> subscriptions{};
  std::vector<Group> groups{};
  std::vector<Message> messages{};
  std::vector<std::string> outbox{};  // event ids
  std::vector<Child> children{};
  std::vector<Cancel> cancels{};
  std::string progress{};
  std::vector<Task> tasks{};
  std::vector<Stop> stops{};
};

// The route of workflow 'w' of queue 'default', as claim_runs wants its routes.
inline const std::string kRoute = "ARRAY[route_id('default', 'w')]";

// SELECT run, accepted, released, inbox FROM commit_runs(..)
std::string commit(std::int64_t session, const std::vector<Did>& runs, int inbox_limit = 100,
                   const std::string& version = "");
// One line a run: its columns, of those that were leased. Asks for kRoute and for that of the channels.
std::string claim(std::int64_t session, const std::string& columns = "instance_id, lease_token",
                  const std::string& mark = "0", int want = 100);
// What the last row says: '->> key'.
std::string claim_summary(std::int64_t session, const std::string& key, const std::string& mark = "0", int want = 100);
// A session that serves workflow 'w' of queue 'default'.
std::string start_session(std::int64_t session, const std::string& former = "{}",
                          const std::string& timeout = "1 hour", const std::string& version = "");
// The claim of a worker of this version: kRoute, that of what is pinned to the version, and that of the channels.
std::string claim_at(const std::string& version, std::int64_t session, const std::string& columns = "instance_id, lease_token",
                     const std::string& marks = "0,0,0");
std::string start(const std::string& id);
std::string tell(const std::string& id, const std::string& channel = "c", const std::string& data = "1");

// A schema and three connections to it. Sessions are called 1, 2, 3 here; because advisory locks are the whole
// database's, and other tests run beside this one, their keys are moved to a range of this schema's own.
struct Storage : testing::Test {
  Storage();
  Schema schema;
  Step a{schema}, b{schema}, c{schema};

  // Instance `id` leased by session 1 with token 1, its start consumed, and no poke left.
  void leased(const std::string& id = "i1");
  std::string invariants() { return c.run("SELECT invariant FROM check_invariants() ORDER BY 1"); }
  // "3|0": how many rows each of these tables has.
  std::string counts(const std::vector<std::string>& tables);
};

}  // namespace romancy::test
