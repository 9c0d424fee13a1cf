// Competing channels under random load: publishers at every isolation level, receivers that wait, give up, finish and die,
// matchers that roll back. Whatever the order, each message is received exactly once, and the invariants hold all the time.
//
// The receivers' loop is the engine's in small: claim, receive, wait again, commit, and again when a commit finds more.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using nlohmann::json;

constexpr int kPublishers = 2, kWaiters = 8, kWorkers = 3, kMessagesEach = 300;

// What the receivers remember, as an engine has it from their histories: the operation each waits with.
class Memory {
 public:
  int wait_of(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return waits_[id];
  }
  void waits(const std::string& id, int op) {
    const std::lock_guard lock(mutex_);
    waits_[id] = op;
  }
  int next_op() { return ++last_op_; }
  int receivers() const { return last_id_; }
  std::string next_id() { return "r" + std::to_string(++last_id_); }

 private:
  std::mutex mutex_;
  std::map<std::string, int> waits_;
  std::atomic<int> last_op_ = 0, last_id_ = 0;
};

// One connection, one session.
class Worker {
 public:
  Worker(const Schema& schema, std::int64_t session, unsigned seed, Memory& memory)
      : conn_(schema.connect()), session_(session), rng_(seed), memory_(memory) {
    query(start_session(session));
  }

  void turn() {
    const bool dies = chance(10);  // after it matched and leased, before it commits
    if (dies) query("BEGIN");
    const auto rows = query(claim(session_, "instance_id, lease_token, inbox"));
    if (dies) {
      query("ROLLBACK");
      return;
    }
    for (int i = 0; i < rows.size(); ++i) run(rows.str(i, 0), rows.int64(i, 1), json::parse(rows.str(i, 2)));
  }

 private:
  void run(const std::string& id, std::int64_t token, json inbox) {
    int waiting = memory_.wait_of(id);
    auto seq = query("SELECT coalesce(max(seq), 0) FROM history WHERE instance_id = '" + id + "'").int64(0, 0);
    for (bool released = false; !released;) {
      Did did{.id = id, .token = token};
      for (const json& row : inbox) {
        const int kind = row[1], op = row[2];
        if (kind == 2 && op != 0 && op != waiting) {
          did.back.push_back(row[0]);  // the wait it was for is over
          continue;
        }
        did.consumed.push_back(row[0]);
        if (kind == 1) {
          did.history.push_back({++seq, 0, 1, "", "{}"});
          did.subscriptions.push_back({"jobs", true, 2});
        } else if (op != 0) {
          did.history.push_back({++seq, op, 8, "jobs", row[6].dump()});
          waiting = 0;
        } else if (waiting != 0 && chance(50)) {  // kicked: it gives up its wait
          did.over.push_back(waiting);
          waiting = 0;
        }
      }
      if (chance(5)) {  // whatever else it has been given goes to the others
        did.status = 2;
        query(start(memory_.next_id()));
      } else if (waiting == 0) {
        waiting = memory_.next_op();
        did.waits.push_back({waiting, "jobs"});
      }
      memory_.waits(id, waiting);  // before anybody else can have it
      const auto answer = query(commit(session_, {did}));
      if (!answer.boolean(0, 1)) throw std::runtime_error("a lease was lost, and nobody ends our session");
      released = answer.boolean(0, 2);
      inbox = json::parse(answer.str(0, 3));
    }
  }

  bool chance(int percent) { return std::uniform_int_distribution<>(1, 100)(rng_) <= percent; }
  pg::Rows query(const std::string& sql) {
    auto rows = conn_.query(sql);
    if (!rows) throw std::runtime_error(rows.error().text + ": " + sql.substr(0, 200));
    return std::move(*rows);
  }

  pg::Blocking conn_;
  std::int64_t session_;
  std::mt19937 rng_;
  Memory& memory_;
};

class ChannelStress : public Storage {};

TEST_F(ChannelStress, EachMessageIsReceivedExactlyOnceWhateverHappensBesideIt) {
  Memory memory;
  std::atomic<bool> over = false;
  std::vector<std::string> failures(static_cast<std::size_t>(kPublishers + kWorkers + 1));
  std::size_t number = 0;
  std::vector<std::thread> threads;
  const auto beside = [&](auto work) {
    threads.emplace_back([&failures, work, mine = number++]() mutable {
      try {
        work();
      } catch (const std::exception& error) {
        failures[mine] = error.what();
      }
    });
  };
  a.run("SELECT declare_channel('jobs', 'competing')");
  for (int n = 1; n <= kWaiters; ++n) a.run(start(memory.next_id()));

  InvariantSampler sampler(schema);
  for (int p = 0; p < kPublishers; ++p) {
    beside([&, p] {
      auto conn = schema.connect();
      std::mt19937 rng(static_cast<unsigned>(p + 100));
      const char* const levels[] = {"READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
      for (int n = 0; n < kMessagesEach;) {
        const bool commits = rng() % 10 != 0;
        const auto done =
            conn.script(std::string("BEGIN ISOLATION LEVEL ") + levels[rng() % 4] + "; SELECT publish('jobs', '1'); " +
                        (commits ? "COMMIT" : "ROLLBACK"));
        if (!done) throw std::runtime_error(done.error().text);
        n += commits ? 1 : 0;
      }
    });
  }
  for (int w = 0; w < kWorkers; ++w) {
    beside([&, w] {
      Worker worker(schema, 10 + w, static_cast<unsigned>(w), memory);
      while (!over) worker.turn();
    });
  }
  beside([&] {  // kicks: what makes a receiver give up its wait
    auto conn = schema.connect();
    std::mt19937 rng(7);
    while (!over) {
      const std::string id = "r" + std::to_string(1 + rng() % static_cast<unsigned>(memory.receivers()));
      const auto done = conn.query("SELECT publish('kick', '1', target_instance_id => instance_id) "
                                   "FROM instances WHERE instance_id = '" + id + "'");
      if (!done) throw std::runtime_error(done.error().text);
    }
  });

  const std::string total = std::to_string(kPublishers * kMessagesEach);
  c.wait_until("SELECT count(DISTINCT data) = " + total + " FROM history WHERE kind = 8");
  over = true;
  for (auto& thread : threads) thread.join();
  sampler.stop();
  for (const auto& failure : failures) EXPECT_EQ(failure, "");
  EXPECT_EQ(c.run("SELECT count(*), count(DISTINCT data) FROM history WHERE kind = 8"), total + "|" + total);
  EXPECT_EQ(counts({"channel_queue", "deferred_messages"}), "0|0");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox WHERE kind = 2 AND op <> 0"), "0");
  EXPECT_EQ(invariants(), "");
}

}  // namespace
}  // namespace romancy::test
