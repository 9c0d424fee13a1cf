// Lease: one instance this process holds, and what is under way for it. Internal to the resumer.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <stop_token>
#include <string>

#include "common/io/alarm.hpp"
#include "resumer/resumer.hpp"

namespace romancy::resumer {

struct Resumer::Attempting {
  ActivityStart start;
  ActivityPool::Id job = 0;          // on the pool
  std::uint64_t id = 0;              // of this attempt in this process: what answers for another is dropped
  std::stop_source stop;
  std::unique_ptr<io::Alarm> delay;  // a short retry waits here
  bool begun = false;                // it is with the pool
};

struct Resumer::HeldBack {
  std::uint64_t id = 0;
  ActivityOutcome outcome;
};

struct Resumer::Lease {
  struct Ready {  // a transaction that waits for its commit
    std::int32_t op = 0;
    std::uint64_t id = 0;
    std::shared_ptr<Handover> handover;
  };
  Lease() = default;
  ~Lease();  // tells those that wait to roll back
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  std::string instance_id, workflow_name;
  std::int64_t token = 0;
  std::int64_t created_us = 0;
  int generation = 0;
  Status status = Status::running;     // as of the last commit
  bool is_new = false;                 // no history yet: its first activity is measured against created_us
  std::unique_ptr<Run> run;            // null while its history is being read
  Output pending;                      // taken, not yet sent
  std::int64_t committed_seq = 0;      // last history row known to be durable
  bool committing = false;             // one commit of this run is under way: take no more until it is answered
  std::uint64_t transacting = 0;       // the attempt whose transaction commits: nothing else may be told to the run
  std::deque<Ready> ready;
  std::deque<HeldBack> held_back;      // outcomes that came while transacting
  bool asking = false;                 // waiting for the rows an earlier run left behind
  bool dirty = false;                  // the run went on while committing: step again after it
  bool look_wanted = false;            // a hint came while committing
  bool poked = false;                  // a poke for it waits in the queue: a claim must take it once we let go
  std::string broken;                  // park it with this reason once the commit under way is answered
  bool giving_up = false;              // the commit under way parks or fails the instance
  std::map<std::int32_t, Attempting> attempts;  // by op
};

// Pure helpers of the engine.

Observer::Instance observed(const Resumer::Lease& lease);

// `later` was taken after `earlier`, nothing was committed in between.
Output merge(Output earlier, Output later);
// Runs one attempt of an activity on a pool thread; never throws.
ActivityOutcome run_attempt(const ActivityRef* activity, const ActivityStart& start, const std::string& instance_id,
                            const std::stop_token& stop, detail::TaskDetails* details = nullptr);
// The same, as an outcome of that attempt.
ActivityOutcome outcome_of(const ActivityStart& start, AttemptResult result);
// It had no result within its time.
ActivityOutcome timed_out(const ActivityStart& start, std::chrono::milliseconds timeout);
// The output says no more than "the start row was told": durable already, so its activities may begin before a commit.
bool says_only_started(const Output& output);

}  // namespace romancy::resumer
