// run_transaction: one attempt of a transactional activity, on a pool thread and its connection.
//
//   thread                                     loop
//   BEGIN, the user's statements
//   result --------------- ready() ----------> is the lease still ours? is all before this durable?
//   waits                                      yes: the moment of this run is kept free for it
//   commit_activity <----- Order ------------- session, token, seq
//   COMMIT
//   TransactionEnd ------- done() -----------> tells the run its result, as history says it already
//
// The run is told after COMMIT, not before: what COMMIT alone can find (a deferred constraint, a serialization failure)
// is then an ordinary failed attempt, and a run never has to forget what it was told. The price is that what the run does
// next is a commit of its own.
// Meanwhile nothing else is told to this run, because seq is taken: transaction_commit.cpp.
//
// Exactly once: before COMMIT nothing is visible and the server rolls back when the connection goes; commit_activity
// holds the instance's row, so a claim of it by others comes before (not accepted: ROLLBACK) or after (it reads the
// result). Unknown is only a COMMIT whose answer was lost: the session is begun anew, and the database says.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "common/pg/blocking.hpp"
#include "resumer/run.hpp"
#include "romancy/romancy.hpp"

namespace romancy::resumer {

// Between one attempt's thread and the loop. One word is given, once; the first counts.
class Handover {
 public:
  struct Order {
    std::int64_t session = 0, token = 0, seq = 0;
  };
  void commit(Order order);  // on the loop
  void drop();               // on the loop: roll back, nobody wants the result any more
  // On the thread. Nothing: roll back; also when the pool ends.
  std::optional<Order> wait(const std::stop_token& ending);

 private:
  std::mutex mutex_;
  std::condition_variable_any given_;
  bool decided_ = false;
  std::optional<Order> order_;
};

enum class TransactionEnd {
  rolled_back,  // the outcome says why
  committed,
  fenced,       // another holds the lease
  dropped,      // nobody wanted the result
  unknown,      // the answer to COMMIT was lost
};

struct TransactionJob {
  const detail::TransactionalDefinition* definition = nullptr;
  ActivityStart start;
  std::string instance_id;
  std::string conninfo, schema;  // of the worker
  std::stop_token stop;
  std::chrono::milliseconds connect_timeout{5000};
};

struct TransactionOutcome {
  TransactionEnd end = TransactionEnd::rolled_back;
  ActivityOutcome outcome;
};

// Never throws. `ready` is called once the user's code has ended well; then `handover` is waited for.
TransactionOutcome run_transaction(const TransactionJob& job, const std::stop_token& ending, Handover& handover,
                                   const std::function<void()>& ready);

// Empty, or the word of a statement that the user must leave to us: "COMMIT". Looks at the first words only: PostgreSQL
// takes one statement at a time here, and refuses to end a transaction from within a function.
std::string transaction_control(std::string_view sql);

}  // namespace romancy::resumer
