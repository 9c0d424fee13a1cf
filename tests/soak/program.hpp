// program: what a soak runs, and what must come of it. Pure: no I/O, no clock.
//
// A *program* is one to a dozen instances (actors) that have to do with nobody else: lists of steps, which the worker's one
// workflow carries out, and what clients do to them from outside (actions, one after the other). make_program(seed, number) is
// the same whatever the timing: the same seed makes the same programs in every run.
//
// The model is the program itself. Each step leaves an outcome under its path; check() walks steps and outcomes side by side and
// says what cannot be: a result that is not the input's, a step that was left out, an effect too few or too many, a message lost,
// doubled or out of order, a branch that lost and went on, a compensation that was forgotten or came in the wrong order. Where
// the outcome is a matter of time (races, cancellations from outside) everything is allowed that some order of events could lead
// to, and nothing else: in each list of steps the outcomes are a prefix, and behind the first that is missing there is no effect.
//
//   step (k)              what of docs/workflows.md it uses
//   act via plain, async  activities, retries, terminal errors; brittle: attempts used up; slow: a time-out
//       via tx, txs       transactional ones, savepoints; serializable
//       via queue, sql    queued ones, served by workers of ours (heartbeat, details); by soak_server with SQL alone (heartbeat,
//                         fail, release)
//   sleep, never          sleep, sleep_until; a wait that only a cancellation ends
//   all, any, race        when_all and wait_all; when_any; start, wait_any and futures that are dropped
//   scope, shield, guard  Scope and its cancel; shield; clean-up behind a cancellation
//   pub, recv, recvfor    publish direct, broadcast, to a group; receive, receive_message, wait_event; receive_for
//   sub, unsub, join, leave, members, consume      channels of both modes, groups; competing receivers that stop
//   child, fan            await, result, forget (following or not), cancel, talk to, detached (start_workflow), refused;
//                         priority, key
//   cancel                cancel_workflow
//   comp, forget, fail    compensations, those that never succeed among them
//   recur, event, pure    continue-as-new; outbox; uuid, random, side_effect, log, Bytes, patched
//   every one             set_status
// Clients (clients.cpp): start, start_at, on_finished, priority, key, publish, publish_to_group, declare_channel, cancel,
// remove_workflow, await_workflow, schedules, under all isolation levels, in transactions that stay open or roll back; start and
// wait of client.hpp; limits, rate and pause of two queues; drain_version, set_workflow_version.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/json.hpp"

namespace romancy::soak {

// The same numbers on every machine (splitmix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }

 private:
  std::uint64_t state_;
};

struct Actor {
  std::string id;
  Json steps;
  std::string workflow = "soak", queue = "default";
  bool cancellable = false;  // it may end as cancelled
  bool optional = false;     // it may never have begun
  bool child = false;        // nobody outside starts it
  std::string parent{};
  bool must_cancel = false;  // it ends no other way
};

// What clients do, in this order; each is one transaction that happens once.
struct Action {
  std::string what;  // see clients.cpp
  Json with;
  int after_ms = 0;  // the one before
};

struct Program {
  int number = 0;
  std::string id, kind;
  std::vector<Actor> actors;
  std::vector<Action> actions;
  int competing = -1;                                     // so many messages went to the consumers, each to one
  std::vector<std::pair<std::string, Json>> former{};     // earlier lives: instance, steps; their effects stay
  bool schedule = false;

  [[nodiscard]] Json text() const;  // for people
};

Program make_program(std::uint64_t seed, int number);

// What the database says of a program once all of it is over.
struct Facts {
  struct Instance {
    std::string status, error_type;
    Json output, progress;
    std::string version{};         // to which its last generation is pinned
    int generation = 0;
  };
  struct Written {
    int times = 0;                 // keys in soak.effects, rows in soak.ledger
    bool ledger = false;
    std::int64_t order = 0;        // of the ledger's row
    std::string note;
  };
  std::map<std::string, Instance> instances;
  std::map<std::pair<std::string, std::string>, Written> effects;  // by instance and path
  std::set<std::pair<std::string, int>> patched;                   // generations whose history has the row
  // By instance and generation (behind it the name of the life, where an id has several): the versions of the workers whose
  // transactions wrote for it.
  std::map<std::pair<std::string, std::string>, std::set<std::string>> made_by{};
  std::set<std::string> moved{};                                   // by set_workflow_version
};

struct Verdict {
  std::vector<std::pair<std::string, std::string>> violations;  // instance, what is wrong
  std::map<std::string, int> covered;                           // kinds of steps that really happened
  std::set<std::string> events, events_allowed;                 // "instance path": were sent; may have been
};
Verdict check(const Program& program, const Facts& facts);

// Every kind of step, outcome and action that a run of full length has to have seen.
const std::vector<std::string>& all_kinds();

}  // namespace romancy::soak
