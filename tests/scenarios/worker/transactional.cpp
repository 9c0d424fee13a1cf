// Transactional: activities whose effect and result are one commit.
#include <chrono>
#include <thread>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;
using romancy::Transaction;

namespace {

// The same row that world::effect() writes, but inside: there when the transaction commits, otherwise never.
void note(Transaction& tx, const std::string& what) {
  tx.exec("INSERT INTO effects (instance_id, what, key, attempt, process) VALUES ($1, $2, $3, $4, pg_backend_pid())",
          tx.instance_id(), what, tx.key(), tx.number());
}

// Says outside of the transaction that it is inside, and stays there until the gate is open. A test sees by the lock
// that the transaction is over (expect_outside).
void stay_inside(Transaction& tx, const std::string& gate) {
  tx.exec("SELECT pg_advisory_xact_lock_shared(hashtextextended('inside ' || $1, 0))", gate);
  world::effect(tx, "inside");
  while (tx.exec("SELECT 1 FROM gates WHERE name = $1", gate).empty()) {  // Stopped when the attempt is
    std::this_thread::sleep_for(5ms);  // between two looks at a fact
  }
}

const auto tx_mark = romancy::transactional("tx_mark", [](Transaction& tx, std::string what) {
  note(tx, what);
  return tx.exec("SELECT count(*) AS n FROM effects WHERE instance_id = $1 AND what = $2", tx.instance_id(), what).get<int>(0, "n");
});
const auto tx_undo = romancy::transactional("tx_undo", [](Transaction& tx, std::string what) { note(tx, "undo " + what); });
const auto tx_flaky = romancy::transactional(
    "tx_flaky",
    [](Transaction& tx, Flaky job) {
      note(tx, job.what);
      if (tx.number() <= job.failures) throw std::runtime_error("not yet");
      return tx.number();
    },
    {.retry = {.attempts = 4, .first_interval = 5ms}});
const auto tx_refuses = romancy::transactional("tx_refuses", [](Transaction& tx, std::string what) -> int {
  note(tx, what);
  throw romancy::TerminalError("no such account", "NoSuchAccount");
});
const auto tx_hold = romancy::transactional("tx_hold", [](Transaction& tx, std::string gate) {
  note(tx, "paid");
  stay_inside(tx, gate);
  return std::string("paid");
});
const auto tx_hasty = romancy::transactional(
    "tx_hasty",
    [](Transaction& tx) {
      note(tx, "paid");
      tx.exec("SELECT pg_sleep(3600)");
    },
    {.retry = {.attempts = 2, .first_interval = 1ms}, .timeout = 50ms});
const auto tx_path = romancy::transactional("tx_path", [](Transaction& tx) {
  const auto rows = tx.exec("SELECT current_setting('search_path') AS path, current_setting('TimeZone') AS zone");
  return Json{{"path", rows.get<std::string>(0, "path")}, {"zone", rows.get<std::string>(0, "zone")}, {"schema", tx.schema()}};
});
const auto tx_savepoint = romancy::transactional("tx_savepoint", [](Transaction& tx) {
  std::string code;
  try {
    tx.savepoint([&] {
      note(tx, "undone");
      tx.exec("SELECT 1 / $1::int", 0);
    });
  } catch (const romancy::SqlError& e) {
    code = e.sqlstate();
  }
  note(tx, "kept");
  return code;
});

// The engine's own functions, in the same transaction.
struct Calls {
  std::string target, child, event, gate;
  int failures = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Calls, target, child, event, gate, failures)
const auto tx_calls = romancy::transactional(
    "tx_calls",
    [](Transaction& tx, Calls calls) {
      note(tx, "calls");
      const int number = tx.number();
      tx.exec("SELECT publish('mail', to_jsonb($1::int), target_instance_id => $2)", number, calls.target);
      tx.exec("SELECT start_workflow('one_step', to_jsonb('of attempt ' || $1), $2)", number, calls.child);
      tx.exec("SELECT add_outbox_event('paid', 'scenario', to_jsonb($1::int), $2)", number, calls.event);
      if (!calls.gate.empty()) stay_inside(tx, calls.gate);
      if (number <= calls.failures) throw std::runtime_error("not yet");
      return number;
    },
    {.retry = {.attempts = 3, .first_interval = 5ms}});
const auto tx_to_itself = romancy::transactional("tx_to_itself", [](Transaction& tx, std::string text) {
  tx.exec("SELECT publish('mail', to_jsonb($1::text), target_instance_id => $2)", text, tx.instance_id());
});

// Takes two locks; whoever has the first says so, and waits for the gate before it asks for the second.
struct Two {
  std::string first, second, gate;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Two, first, second, gate)
const auto tx_two_locks = romancy::transactional(
    "tx_two_locks",
    [](Transaction& tx, Two locks) {
      tx.exec("SELECT pg_advisory_xact_lock(hashtext($1))", locks.first);
      stay_inside(tx, locks.gate);
      tx.exec("SELECT pg_advisory_xact_lock(hashtext($1))", locks.second);
      note(tx, "both");
    },
    {.retry = {.attempts = 5, .first_interval = 5ms, .non_retryable = {"SqlError"}}});

template <class In, class Out>
auto just(std::string name, const romancy::Activity<In, Out>& activity) {
  return romancy::workflow(std::move(name), [activity](Context& ctx, In input) -> Task<Out> {
    if constexpr (std::is_void_v<Out>) {
      co_await ctx.run(activity, input);
      co_await ctx.sleep(1ms);
    } else {
      const Out result = co_await ctx.run(activity, input);
      co_await ctx.sleep(1ms);  // and the result must replay
      co_return result;
    }
  });
}

const auto pays = romancy::workflow("pays", [](Context& ctx, std::string what) -> Task<int> {
  int last = 0;
  for (int i = 0; i < 3; ++i) {
    last = co_await ctx.run(tx_mark, what);
    co_await ctx.sleep(1ms);
  }
  co_return last;
});
const auto pays_at_once = romancy::workflow("pays_at_once", [](Context& ctx, int count) -> Task<int> {
  std::vector<romancy::Future<int>> all;
  for (int i = 0; i < count; ++i) {
    const std::string what = "part " + std::to_string(i);
    all.push_back(ctx.start(ctx.run(tx_mark, what)));
  }
  const auto done = co_await ctx.wait_all(all);
  co_await ctx.sleep(1ms);
  co_return static_cast<int>(done.size());
});
const auto tx_branch = romancy::workflow("tx_branch", [](Context& ctx, std::string what) -> Task<std::string> {
  const auto outcome = co_await ctx.attempt(tx_refuses, what);
  const std::string branch = outcome.ok() ? "paid" : outcome.error().type();
  co_await ctx.run(tx_mark, branch);
  for (int i = 0; i < 3; ++i) co_await ctx.sleep(1ms);
  co_return branch;
});
const auto tx_in_haste = romancy::workflow("tx_in_haste", [](Context& ctx) -> Task<std::string> {
  const auto outcome = co_await ctx.attempt(tx_hasty);
  co_return outcome.ok() ? "?" : outcome.error().type() + " at " + std::to_string(outcome.error().attempt());
});
const auto tx_shows = romancy::workflow("tx_shows", [](Context& ctx) -> Task<Json> { co_return co_await ctx.run(tx_path); });
const auto tx_saves = romancy::workflow("tx_saves", [](Context& ctx) -> Task<std::string> { co_return co_await ctx.run(tx_savepoint); });
const auto tx_overtaken = romancy::workflow("tx_overtaken", [](Context& ctx, std::string gate) -> Task<std::string> {
  auto first = co_await ctx.when_any(ctx.run(tx_hold, gate), ctx.receive<std::string>("stop"));
  const std::string how = first.index() == 0 ? first.get<0>() : first.get<1>();
  co_await ctx.receive<Json>("go on");
  co_return how;
});
const auto tx_answers = romancy::workflow("tx_answers", [](Context& ctx, std::string text) -> Task<std::string> {
  co_await ctx.run(tx_to_itself, text);
  co_return co_await ctx.receive<std::string>("mail");
});
const auto tx_saga = romancy::workflow("tx_saga", [](Context& ctx, int steps) -> Task<> {
  for (int i = 1; i <= steps; ++i) {
    const std::string what = "step " + std::to_string(i);
    co_await ctx.run(tx_mark, what);
    ctx.compensate_with(tx_undo, what);
  }
  const std::string last = "last";
  co_await ctx.run(tx_refuses, last);
});

}  // namespace

void add_transactional(Program& program) {
  program.activities.insert(program.activities.end(), {tx_mark, tx_undo, tx_flaky, tx_refuses, tx_hold, tx_hasty, tx_path,
                                                       tx_savepoint, tx_calls, tx_to_itself, tx_two_locks});
  program.workflows.insert(program.workflows.end(),
                           {just("tx_retried", tx_flaky), just("tx_held", tx_hold), just("tx_calls_all", tx_calls),
                            just("tx_locks", tx_two_locks), pays, pays_at_once, tx_branch, tx_in_haste, tx_shows, tx_saves,
                            tx_overtaken, tx_answers, tx_saga});
}
