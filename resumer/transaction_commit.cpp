// The loop's side of a transactional activity: one commit of a run at a time, and nothing is told to a run while a
// transaction holds the place of its next event. See transaction.hpp.
#include <utility>

#include "common/base/log.hpp"
#include "resumer/lease.hpp"
#include "resumer/resumer.hpp"
#include "resumer/transaction.hpp"

namespace romancy::resumer {

using proc::Counter;

Resumer::Lease::~Lease() {
  for (const Ready& waits : ready) waits.handover->drop();
}

void Resumer::run_transactional(const std::string& instance_id, std::int64_t token, Attempting& attempt,
                                const ActivityRef& activity) {
  const auto& definition = static_cast<const detail::TransactionalDefinition&>(activity.definition());
  const auto handover = std::make_shared<Handover>();
  const auto end = std::make_shared<TransactionEnd>(TransactionEnd::rolled_back);
  const auto timeout = activity.options().timeout;
  const std::int32_t op = attempt.start.op;
  const std::uint64_t id = attempt.id;
  TransactionJob job{&definition, attempt.start, instance_id, config_.conninfo, config_.schema, attempt.stop.get_token(),
                     config_.connect_timeout};
  attempt.job = pool_->submit(
      {.name = attempt.start.name,
       .timeout = timeout,
       .stop = attempt.stop,
       .work =
           [this, job = std::move(job), token, op, id, handover, end](const std::stop_token& ending) {
             auto over = run_transaction(job, ending, *handover, [&] {
               process_.loop().post([this, instance_id = job.instance_id, token, op, id, handover] {
                 transaction_ready(instance_id, token, op, id, handover);
               });
             });
             *end = over.end;
             return std::move(over.outcome);
           },
       .done =
           [this, instance_id, token, op, id, start = attempt.start, timeout,
            end](std::optional<ActivityOutcome> outcome) {
             // Given up: the thread may still be at work, and `end` is its own. It will be told to roll back.
             if (!outcome) return attempt_over(instance_id, token, id, timed_out(start, timeout));
             transaction_over(instance_id, token, op, id, *end, *outcome);
           }});
}

// The user's code has ended well, and its thread waits with the transaction open.
void Resumer::transaction_ready(const std::string& instance_id, std::int64_t token, std::int32_t op, std::uint64_t id,
                                const std::shared_ptr<Handover>& handover) {
  if (session_ == 0 || attempting(instance_id, token, op, id) == nullptr) return handover->drop();
  Lease& lease = *held(instance_id, token);
  lease.ready.push_back({op, id, handover});
  next_transaction(lease);
}

// Gives the word to the first that waits, once everything before it is durable: its place in history must be the next.
void Resumer::next_transaction(Lease& lease) {
  while (!lease.committing && !lease.asking && lease.transacting == 0 && !lease.ready.empty()) {
    // Given up, or taken back by the code: a result that nobody awaits must not enter history.
    const Lease::Ready& first = lease.ready.front();
    if (attempting(lease.instance_id, lease.token, first.op, first.id) == nullptr || !lease.run->awaits(first.op)) {
      lease.ready.front().handover->drop();
      lease.ready.pop_front();
      continue;
    }
    if (lease.run->last_seq() != lease.committed_seq || !lease.pending.empty()) return step(lease, true);
    const Lease::Ready next = std::move(lease.ready.front());
    lease.ready.pop_front();
    lease.transacting = next.id;
    pool_->untimed(lease.attempts.at(next.op).job);  // from here on it is our time, not the activity's
    next.handover->commit({session_, lease.token, lease.committed_seq + 1});
  }
}

void Resumer::transaction_over(const std::string& instance_id, std::int64_t token, std::int32_t op, std::uint64_t id,
                               TransactionEnd end, ActivityOutcome outcome) {
  Lease* lease = held(instance_id, token);
  if (lease == nullptr || lease->transacting != id) {
    if (end == TransactionEnd::dropped) {
      --running_;
      // The lease may still be ours, when it was the code that took the activity back.
      if (attempting(instance_id, token, op, id) != nullptr) lease->attempts.erase(op);
      if (drained_) end_drain();
      return;
    }
    outcome.op = op;
    return attempt_over(instance_id, token, id, outcome);
  }
  lease->transacting = 0;
  switch (end) {
    case TransactionEnd::committed:
      ++lease->committed_seq;  // the row that the run is about to write
      slot_.add(Counter::runs_committed);
      [[fallthrough]];
    case TransactionEnd::rolled_back:
      attempt_over(instance_id, token, id, outcome);
      break;
    case TransactionEnd::fenced:
      --running_;
      log::warn("lease lost, the transaction is rolled back", {{"instance_id", instance_id}, {"lease_token", token}});
      slot_.add(Counter::runs_fenced);
      forget(instance_id);
      break;
    case TransactionEnd::dropped:  // the pool ends
    case TransactionEnd::unknown:
      --running_;
      session_lost({ErrorKind::retry, "the outcome of a transaction is not known", {}});
      break;
  }
  if (Lease* still = held(instance_id, token); still != nullptr && !still->broken.empty()) park(*still, still->broken);
  // What came meanwhile. Each may end the lease.
  while (Lease* still = held(instance_id, token)) {
    if (still->transacting != 0 || still->held_back.empty()) {
      next_transaction(*still);
      break;
    }
    const HeldBack next = std::move(still->held_back.front());
    still->held_back.pop_front();
    if (attempting(instance_id, token, next.outcome.op, next.id) != nullptr) {
      activity_done(instance_id, token, next.outcome);
    }
  }
  if (drained_) end_drain();
}

}  // namespace romancy::resumer
