#include "resumer/resumer.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/json.hpp"
#include "common/base/log.hpp"
#include "common/proc/inherited.hpp"
#include "resumer/lease.hpp"

namespace romancy::resumer {

using namespace std::chrono_literals;
using proc::Counter;
using proc::Histogram;
using proc::Why;

namespace {

// A run that killed its worker this often is parked: it would take down one after the other.
constexpr int kCrashesToPark = 5;
// From so many on it is claimed alone (claim_runs has the same number).
constexpr int kCrashesToSuspect = 2;
// Who skipped a locked instance comes back after 1, 2, 4 .. ms (hole H5, docs/adr/0001); a lock may be held for long.
constexpr std::chrono::milliseconds kSkipDelayMax{1000};

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// Of a mark, what stands after the slash stays: whose turn it is (claim_runs).
void begin_at_the_bottom(std::vector<std::string>& marks, std::size_t routes) {
  marks.resize(routes, "0");
  for (std::string& mark : marks) mark.replace(0, std::min(mark.find('/'), mark.size()), "0");
}

bool contains(const std::vector<std::int32_t>& ops, std::int32_t op) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

}  // namespace

Observer::Instance observed(const Resumer::Lease& lease) {
  return {lease.instance_id, lease.workflow_name, lease.generation};
}

// The names stand here so that a new one is not forgotten below: then this does not compile.
Output merge(Output earlier, Output later) {
  [[maybe_unused]] const auto& [history, timers, timers_over, waits, given_back, groups, consumed, seen, subscriptions,
                                messages, outbox, children, cancels, progress, tasks, task_stops, activities, stopped, status, recur, note, release,
                                ask_seen, seen_after] = later;
  append(earlier.history, std::move(later.history));
  // What began and is over before it was written never was.
  std::erase_if(earlier.timers, [&](const TimerStart& timer) { return contains(later.timers_over, timer.op); });
  std::erase_if(earlier.waits, [&](const MessageWait& wait) { return contains(later.timers_over, wait.op); });
  std::erase_if(earlier.tasks, [&](const TaskStart& task) {
    return std::any_of(later.task_stops.begin(), later.task_stops.end(),
                       [&](const TaskStop& stop) { return stop.op == task.op && !stop.wanted; });
  });
  append(earlier.timers, std::move(later.timers));
  append(earlier.timers_over, std::move(later.timers_over));
  append(earlier.waits, std::move(later.waits));
  append(earlier.given_back, std::move(later.given_back));
  append(earlier.groups, std::move(later.groups));
  append(earlier.consumed, std::move(later.consumed));
  append(earlier.seen, std::move(later.seen));
  append(earlier.subscriptions, std::move(later.subscriptions));
  append(earlier.messages, std::move(later.messages));
  append(earlier.outbox, std::move(later.outbox));
  append(earlier.children, std::move(later.children));
  append(earlier.cancels, std::move(later.cancels));
  if (later.progress) earlier.progress = std::move(later.progress);
  append(earlier.tasks, std::move(later.tasks));
  append(earlier.task_stops, std::move(later.task_stops));
  append(earlier.activities, std::move(later.activities));
  append(earlier.stopped, std::move(later.stopped));
  earlier.recur = later.recur;
  earlier.note = std::move(later.note);
  earlier.status = later.status;
  earlier.release = later.release;
  earlier.ask_seen = std::move(later.ask_seen);
  earlier.seen_after = later.seen_after;
  return earlier;
}

bool says_only_started(const Output& output) {
  return output.history.size() == 1 && output.history.front().kind == HistoryKind::started && output.timers.empty() &&
         output.timers_over.empty() && output.seen.empty() && output.subscriptions.empty() && output.messages.empty() &&
         output.outbox.empty() && output.children.empty() && output.cancels.empty() && !output.progress &&
         output.tasks.empty() && output.task_stops.empty() &&
         output.status == Status::running && !output.release;
}

// ---------------------------------------------------------------------------------------------- looking for work

void Resumer::look(Why why) {
  // By the clock: in a busy process hint follows hint, and a poll is never due.
  const auto now = std::chrono::steady_clock::now();
  if (why == Why::resync || why == Why::poll ||
      now - held_looked_at_ >= (hears_ ? config_.fallback_interval : config_.workflow_interval)) {
    held_looked_at_ = now;
    look_at_all_held();
  }
  const auto room = config_.max_in_flight - static_cast<int>(leases_.size());
  if (session_ == 0 || drained_ || room <= 0 || !suspect_.empty()) {
    starved_ = room <= 0;
    sweeper_.done(false);
    return;
  }
  if (why == Why::poll || why == Why::resync) {
    // A poke whose claim was rolled back may lie below the marks: the sweep begins at the bottom.
    begin_at_the_bottom(marks_, routes_.size());
    slot_.add(Counter::wakes_swept);
  } else if (why == Why::hint) {
    slot_.add(Counter::wakes_notified);
  }
  slot_.add(Counter::claims);
  const auto sent = std::chrono::steady_clock::now();
  store_.claim(session_, routes_, marks_, std::min(room, config_.max_workflows), config_.max_messages,
               [this, sent, session = session_](Result<Claim> claim) {
                 // The look has ended, whoever asked for it: a sweeper that never hears so never looks again.
                 if (session != session_) return sweeper_.done(false);  // another life
                 if (!claim) {
                   log::warn("claim failed", {{"error", claim.error().text}});
                   sweeper_.done(false);  // a lost connection: on_down follows. Anything else: the next look
                   return;
                 }
                 slot_.record(Histogram::claim_time, std::chrono::steady_clock::now() - sent);
                 claimed(std::move(*claim));
               });
}

void Resumer::claimed(Claim claim) {
  if (claim.over) {
    sweeper_.done(false);
    session_lost({ErrorKind::retry, "the session was ended by somebody else", {}});
    return;
  }
  if (claim.marks.size() == routes_.size()) marks_ = std::move(claim.marks);
  if (claim.clock_us != 0) set_clock(claim.clock_us);
  slot_.add(Counter::runs_claimed, claim.runs.size());
  for (Claimed& run : claim.runs) adopt(std::move(run));
  if (claim.skipped > 0) {
    sweeper_.look_in(skip_delay_);
    skip_delay_ = std::min(skip_delay_ * 2, kSkipDelayMax);
  } else {
    skip_delay_ = 1ms;
  }
  if (claim.again_us > 0) sweeper_.look_in(std::chrono::microseconds(claim.again_us));
  sweeper_.done(claim.more);
  if (process_.once() && claim.runs.empty() && !claim.more && claim.skipped == 0 && claim.again_us == 0) end_once();
}

// --once: nothing is due any more. What is still held finishes first; the last one to go looks again.
void Resumer::end_once() {
  if (leases_.empty() && !drained_) drain([this] { process_.finish(proc::kExitOk); });
}

void Resumer::adopt(Claimed claimed) {
  forget(claimed.instance_id);  // the database gave it to us anew: an older run of it is over
  auto owned = std::make_unique<Lease>();
  Lease& lease = *owned;
  lease.instance_id = claimed.instance_id;
  lease.workflow_name = claimed.workflow_name;
  lease.token = claimed.token;
  lease.created_us = claimed.created_us;
  lease.generation = claimed.generation - claimed.first_generation;
  lease.status = claimed.status;
  leases_[claimed.instance_id] = std::move(owned);
  if (claimed.crashes >= kCrashesToSuspect && claimed.crashes < kCrashesToPark) {
    suspect_ = claimed.instance_id;
    suspect_alarm_.set_in(config_.session_timeout);
    log::warn("instance runs alone, its workers died", {{"instance_id", suspect_}, {"crashes", claimed.crashes}});
    if (leases_.size() > 1) {
      suspect_waits_ = std::make_unique<Claimed>(std::move(claimed));
      return;
    }
  }
  begin(lease, std::move(claimed));
}

// The neighbours are gone, or had their time; or it was alone for so long that it is not to be feared any more.
void Resumer::suspect_due() {
  if (!suspect_waits_) return clear_suspect();
  const auto claimed = std::exchange(suspect_waits_, nullptr);
  suspect_alarm_.set_in(config_.session_timeout);
  if (Lease* lease = held(claimed->instance_id, claimed->token)) begin(*lease, std::move(*claimed));
  else clear_suspect();
}

void Resumer::clear_suspect() {
  if (suspect_.empty()) return;
  suspect_.clear();
  suspect_waits_.reset();
  suspect_alarm_.cancel();
  if (session_ != 0 && !drained_) sweeper_.look_in(0ms);
}

void Resumer::begin(Lease& lease, Claimed claimed) {
  auto copy = cache_.take(claimed.instance_id, claimed.token);
  if (!claimed.unreadable.empty()) return park(lease, claimed.unreadable);
  if (claimed.crashes >= kCrashesToPark) {
    return park(lease, "crash: " + std::to_string(claimed.crashes) + " workers died running it");
  }
  if (claimed.fresh && copy) {
    lease.run = std::move(copy);
    lease.committed_seq = lease.run->last_seq();
    return deliver(lease, claimed.inbox);
  }
  auto run = Run::make(registry_, {claimed.instance_id, claimed.workflow_name, claimed.generation,
                                   claimed.first_generation});
  if (!run) return park(lease, run.error().text);
  (*run)->left_behind(claimed.left_behind);
  slot_.add(Counter::replays);
  if (!claimed.fresh) {
    lease.run = std::move(*run);
    return replay(lease, claimed.history, claimed.inbox);
  }
  // It was ours, but the copy went out of the cache: the claim sent no history.
  store_.read_history(lease.instance_id,
                      [this, id = lease.instance_id, token = lease.token, run = std::make_shared<std::unique_ptr<Run>>(std::move(*run)),
                       inbox = std::move(claimed.inbox)](Result<std::vector<HistoryRow>> history) {
                        Lease* held_one = held(id, token);
                        if (held_one == nullptr) return;
                        if (!history) {
                          if (history.error().kind != ErrorKind::retry) return park(*held_one, history.error().text);
                          log::warn("read_history failed", {{"instance_id", id}, {"error", history.error().text}});
                          // The lease stays ours; a passing error would leave it idle. A new session frees it.
                          return session_lost(history.error());
                        }
                        held_one->run = std::move(*run);
                        replay(*held_one, *history, inbox);
                      });
}

void Resumer::replay(Lease& lease, const std::vector<HistoryRow>& history, const std::vector<InboxRow>& inbox) {
  lease.is_new = history.empty();
  lease.run->clock(clock_us());
  if (auto replayed = lease.run->replay(history); !replayed) return park(lease, replayed.error().text);
  lease.committed_seq = history.empty() ? 0 : history.back().seq;  // the run may have gone on by itself
  if (!history.empty()) observer_.replayed(observed(lease), lease.committed_seq, clock_us());
  deliver(lease, inbox);
}

void Resumer::deliver(Lease& lease, const std::vector<InboxRow>& inbox) {
  lease.run->clock(clock_us());
  if (auto delivered = lease.run->deliver(inbox); !delivered) return park(lease, delivered.error().text);
  if (std::any_of(inbox.begin(), inbox.end(), [](const InboxRow& row) {
        return row.kind == InboxKind::cancel || row.kind == InboxKind::expired;
      })) {
    for (auto& [op, attempt] : lease.attempts) {
      if (lease.run->stoppable(op)) attempt.stop.request_stop();
    }
  }
  step(lease);
}

// ------------------------------------------------------------------------------------------- from a run to a commit

void Resumer::step(Lease& lease, bool look) {
  if (lease.committing || lease.asking || lease.transacting != 0) {
    lease.dirty = true;
    lease.look_wanted |= look;
    return;
  }
  lease.dirty = false;
  look |= std::exchange(lease.look_wanted, false);
  Output output = merge(std::exchange(lease.pending, {}), lease.run->take());
  stop_activities(lease, std::exchange(output.stopped, {}));
  // The result of a transactional activity was written before the run was told.
  const auto news = std::find_if(output.history.begin(), output.history.end(),
                                 [&](const HistoryRow& row) { return row.seq > lease.committed_seq; });
  observer_.committed(observed(lease), {output.history.begin(), news}, clock_us());
  output.history.erase(output.history.begin(), news);
  if (output.ask_seen) {
    const std::string channel = *output.ask_seen;
    const std::int64_t after_id = std::exchange(output.seen_after, 0);
    output.ask_seen.reset();
    lease.pending = std::move(output);
    lease.asking = true;
    return ask_seen(lease, channel, after_id);
  }
  if (!look && (says_only_started(output) || (output.empty() && !output.release))) {
    auto activities = std::exchange(output.activities, {});
    lease.pending = std::move(output);  // travels with the first result
    return start_activities(lease, std::move(activities));
  }
  commit(lease, std::move(output));
}

void Resumer::ask_seen(Lease& lease, const std::string& channel, std::int64_t after_id) {
  const int max = config_.max_messages;
  store_.read_seen(session_, {lease.instance_id, lease.token, {}, {}}, channel, after_id, max,
                   [this, id = lease.instance_id, token = lease.token, channel, max](Result<std::vector<InboxRow>> rows) {
                     Lease* asked = held(id, token);
                     if (asked == nullptr) return;
                     if (!rows) {
                       asked->asking = false;
                       if (rows.error().kind != ErrorKind::retry) return park(*asked, rows.error().text);
                       log::warn("read_seen failed", {{"instance_id", id}, {"error", rows.error().text}});
                       return session_lost(rows.error());
                     }
                     const bool all = rows->size() < static_cast<std::size_t>(max);
                     asked->run->clock(clock_us());
                     asked->asking = false;
                     if (auto told = asked->run->seen(channel, *rows, all); !told) return park(*asked, told.error().text);
                     asked->dirty = false;
                     step(*asked, std::exchange(asked->look_wanted, false));
                     if (Lease* still = held(id, token)) next_transaction(*still);
                     if (drained_) end_drain();
                   });
}

void Resumer::commit(Lease& lease, Output output, std::string note) {
  lease.committing = true;
  lease.dirty = lease.look_wanted = false;
  AfterCommit after{.activities = std::exchange(output.activities, {}),
                    .finished = is_final(output.status),
                    .recurred = output.recur,
                    .matchable = !output.waits.empty() || !output.given_back.empty(),
                    .last_seq = output.history.empty() ? lease.committed_seq : output.history.back().seq,
                    .status = output.status,
                    .told = observer_.listening() ? output.history : std::vector<HistoryRow>(),
                    .parked = output.status == Status::stuck ? note : std::string()};
  commits_.push({lease.instance_id, lease.token, std::move(note), std::move(output)},
                [this, id = lease.instance_id, token = lease.token, after = std::move(after)](Result<Committed> answer) mutable {
                  committed(id, token, std::move(after), std::move(answer));
                  if (Lease* still = held(id, token)) next_transaction(*still);
                  // At the turn's end: the other runs of this batch may yet have a result to write.
                  if (drained_) process_.loop().at_turn_end([this] { end_drain(); });
                });
}

void Resumer::committed(const std::string& instance_id, std::int64_t token, AfterCommit after, Result<Committed> answer) {
  Lease* lease = held(instance_id, token);
  if (lease == nullptr) return;
  lease->committing = false;
  if (!answer) return fail_on_data(*lease, answer.error());
  if (!answer->accepted) {
    log::warn("lease lost, the run is dropped", {{"instance_id", instance_id}, {"lease_token", token}});
    slot_.add(Counter::runs_fenced);
    return forget(instance_id);
  }
  slot_.add(Counter::runs_committed);
  set_clock(answer->clock_us);
  observe(*lease, after);
  if (after.matchable) sweeper_.look_in(0ms);  // our own claim matches it: nobody else is told
  if (answer->released) {
    if (after.finished) slot_.add(Counter::workflows_finished);
    if (!after.finished && !after.recurred && !lease->giving_up) cache_.put(instance_id, token, std::move(lease->run));
    lease->poked |= after.recurred;  // the next generation waits in the queue
    return forget(instance_id);
  }
  if (!lease->broken.empty()) return park(*lease, lease->broken);
  if (!answer->unreadable.empty()) return park(*lease, answer->unreadable);
  // It made progress; that it began (always the first row) is none.
  if (after.last_seq > std::max<std::int64_t>(lease->committed_seq, 1) && instance_id == suspect_) clear_suspect();
  lease->committed_seq = after.last_seq;
  start_activities(*lease, std::move(after.activities));
  if (!answer->inbox.empty()) return deliver(*lease, answer->inbox);
  if (lease->dirty || lease->look_wanted) step(*lease, lease->look_wanted);
}

void Resumer::observe(Lease& lease, const AfterCommit& after) const {
  observer_.committed(observed(lease), after.told, clock_us());
  if (after.status == Status::compensating && lease.status != after.status) {
    observer_.compensating(observed(lease), clock_us());
  }
  if (!after.parked.empty()) observer_.parked(observed(lease), after.parked, clock_us());
  lease.status = after.status;
}

void Resumer::park(Lease& lease, const std::string& why) {
  if (lease.committing || lease.transacting != 0) {  // one commit of a run at a time: this one comes after it
    lease.broken = why;
    return;
  }
  log::error("instance parked", {{"instance_id", lease.instance_id}, {"workflow_name", lease.workflow_name}, {"reason", why}});
  for (auto& [op, attempt] : lease.attempts) attempt.stop.request_stop();
  lease.attempts.clear();
  lease.giving_up = true;
  Output output;  // nothing of the run is written
  output.status = Status::stuck;
  output.release = true;
  commit(lease, std::move(output), why);
}

// The database refused the values of this run alone: the workflow fails with that error, as far as it had come.
void Resumer::fail_on_data(Lease& lease, const Error& why) {
  if (lease.giving_up) {
    log::error("instance cannot be written, its lease is kept until the session ends",
               {{"instance_id", lease.instance_id}, {"error", why.text}});
    return;
  }
  log::error("workflow failed on its own data", {{"instance_id", lease.instance_id}, {"error", why.text}});
  for (auto& [op, attempt] : lease.attempts) attempt.stop.request_stop();
  lease.attempts.clear();
  lease.giving_up = true;
  Output output;
  output.history.push_back({lease.committed_seq + 1, 0, HistoryKind::failed, {},
                            dump_json(Json{{"type", "DataError"}, {"message", why.text}})});
  output.status = Status::failed;
  output.release = true;
  commit(lease, std::move(output));
}

// ------------------------------------------------------------------------------------------------------ activities

void Resumer::start_activities(Lease& lease, std::vector<ActivityStart> activities) {
  if (drained_) return;  // their instance is freed with the session, and they start elsewhere
  for (ActivityStart& start : activities) {
    const std::int32_t op = start.op;
    if (!lease.run->awaits(op)) continue;  // taken back while its commit was under way
    const auto delay = start.delay;
    Attempting& attempt = lease.attempts[op];
    attempt.start = std::move(start);
    attempt.stop = std::stop_source();
    attempt.delay.reset();
    attempt.begun = false;
    if (delay > 0ms) {
      attempt.delay = std::make_unique<io::Alarm>(
          process_.loop(), [this, id = lease.instance_id, token = lease.token, op] { run_activity(id, token, op); });
      attempt.delay->set_in(delay);
    } else {
      run_activity(lease.instance_id, lease.token, op);
    }
  }
}

// Nobody waits for these any more. One that has not begun never will; the outcome of the others is dropped.
void Resumer::stop_activities(Lease& lease, const std::vector<std::int32_t>& ops) {
  for (const std::int32_t op : ops) {
    const auto found = lease.attempts.find(op);
    if (found == lease.attempts.end()) continue;
    found->second.stop.request_stop();
    if (!found->second.begun) lease.attempts.erase(found);
  }
}

void Resumer::run_activity(const std::string& instance_id, std::int64_t token, std::int32_t op) {
  Lease* lease = held(instance_id, token);
  if (lease == nullptr || drained_) return;
  Attempting& attempt = lease->attempts.at(op);
  attempt.begun = true;
  if (std::exchange(lease->is_new, false)) {
    slot_.record(Histogram::start_to_activity, std::chrono::microseconds(clock_us() - lease->created_us));
  }
  observer_.attempt_started(observed(*lease), op, attempt.start.name, attempt.start.attempt, clock_us());
  ++running_;
  attempt.id = ++last_attempt_;
  const ActivityRef* ref = registry_.activity(attempt.start.name);
  const auto timeout = ref != nullptr ? ref->options().timeout : 0ms;
  if (ref != nullptr && ref->definition().kind() == detail::ActivityKind::transactional) {
    return run_transactional(instance_id, token, attempt, *ref);
  }
  if (ref != nullptr && ref->definition().kind() == detail::ActivityKind::asynchronous) {
    return async_.submit({.definition = static_cast<const detail::AsyncDefinition*>(&ref->definition()),
                          .start = attempt.start,
                          .instance_id = instance_id,
                          .stop = attempt.stop,
                          .done = [this, instance_id, token, id = attempt.id](const ActivityOutcome& outcome) {
                            attempt_over(instance_id, token, id, outcome);
                          }});
  }
  attempt.job = pool_->submit({.name = attempt.start.name,
                 .timeout = timeout,
                 .stop = attempt.stop,
                 .work = [ref, start = attempt.start, instance_id, stop = attempt.stop.get_token()](
                             const std::stop_token&) { return run_attempt(ref, start, instance_id, stop); },
                 .done = [this, instance_id, token, id = attempt.id, start = attempt.start,
                          timeout](std::optional<ActivityOutcome> outcome) {
                   attempt_over(instance_id, token, id, outcome ? *outcome : timed_out(start, timeout));
                 }});
}

// An attempt on a thread or on the loop has ended, however.
void Resumer::attempt_over(const std::string& instance_id, std::int64_t token, std::uint64_t id,
                           const ActivityOutcome& outcome) {
  --running_;
  slot_.add(Counter::activities_run);
  if (!outcome.ok) slot_.add(Counter::activities_failed);
  if (const Attempting* attempt = attempting(instance_id, token, outcome.op, id)) {
    Lease& lease = *held(instance_id, token);
    observer_.attempt_ended(observed(lease), outcome.op, attempt->start.name, outcome.attempt, outcome.ok, clock_us());
    if (lease.transacting != 0) {  // transaction_over() comes back to it
      lease.held_back.push_back({id, outcome});
    } else {
      activity_done(instance_id, token, outcome);
    }
  }
  if (drained_) end_drain();
}

void Resumer::activity_done(const std::string& instance_id, std::int64_t token, const ActivityOutcome& outcome) {
  Lease& lease = *held(instance_id, token);
  lease.attempts.erase(outcome.op);
  lease.run->clock(clock_us());
  if (auto told = lease.run->activity_done(outcome); !told) return park(lease, told.error().text);
  step(lease);
}

// Null: it ran for a lease or a try that is gone. Its successor, if there is one, runs it again.
Resumer::Attempting* Resumer::attempting(const std::string& instance_id, std::int64_t token, std::int32_t op,
                                         std::uint64_t id) {
  Lease* lease = held(instance_id, token);
  if (lease == nullptr || lease->giving_up || !lease->broken.empty()) return nullptr;
  const auto found = lease->attempts.find(op);
  return found != lease->attempts.end() && found->second.id == id ? &found->second : nullptr;
}

// ----------------------------------------------------------------------------------------------------------- leases

// Something came in for an instance we hold: its next commit looks. If none is under way, make an empty one now.
void Resumer::look_at_held(const std::string& instance_id) {
  const auto found = leases_.find(instance_id);
  if (found == leases_.end()) return;
  Lease& lease = *found->second;
  lease.poked = true;
  if (lease.run == nullptr || lease.giving_up) return;  // about to look, or to end
  step(lease, true);
}

// What came in for an instance whose activity runs is found by no claim, and its hint may be lost: a workflow that waits
// for something else besides must not wait for its activity's end. Nor is the end of a task that shall stop found by one.
void Resumer::look_at_all_held() {
  if (session_ == 0) return;
  std::vector<std::string> busy;
  for (const auto& [id, lease] : leases_) {
    const bool lingers = lease->run != nullptr && !lease->committing && !lease->asking && lease->transacting == 0;
    if (!lease->attempts.empty() || lingers) busy.push_back(id);
  }
  for (const std::string& id : busy) look_at_held(id);
}

void Resumer::forget(const std::string& instance_id) {
  const auto found = leases_.find(instance_id);
  if (found == leases_.end()) return;
  for (auto& [op, attempt] : found->second->attempts) attempt.stop.request_stop();
  const bool poked = found->second->poked, suspected = instance_id == suspect_;
  leases_.erase(found);
  if (suspected) clear_suspect();
  else if (suspect_waits_ && leases_.size() == 1) suspect_alarm_.set_in(0ms);
  if (std::exchange(starved_, false) || poked || process_.once()) sweeper_.look_in(0ms);
}

Resumer::Lease* Resumer::held(const std::string& instance_id, std::int64_t token) {
  const auto found = leases_.find(instance_id);
  return found != leases_.end() && found->second->token == token ? found->second.get() : nullptr;
}

void Resumer::set_clock(std::int64_t clock) {
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  clock_offset_us_ = clock - std::chrono::duration_cast<std::chrono::microseconds>(mono).count();
}

std::int64_t Resumer::clock_us() const {
  const auto mono = std::chrono::steady_clock::now().time_since_epoch();
  return clock_offset_us_ + std::chrono::duration_cast<std::chrono::microseconds>(mono).count();
}

}  // namespace romancy::resumer
