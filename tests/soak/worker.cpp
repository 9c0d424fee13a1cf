// soak_worker: carries out programs. An instance's input is a list of steps (tests/soak/program.hpp makes them, and says what must
// come of them); one workflow interprets it with everything the SDK offers.
//
// Each step leaves its outcome in a map under its path, and the map is the instance's status value from its next commit on: so
// also of one that was cancelled or failed it can be read how far it came. Effects are rows under the instance's id and the path:
// in soak.effects by key, for activities that may run twice; in soak.ledger without one, where only exactly once will do.
#include <libpq-fe.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <romancy/romancy.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

constexpr auto kNever = 1h;

// ---- activities ---------------------------------------------------------------------------------------------------------

// The effect of an activity, on a connection of its own. A database that is away is waited for: what fails here is what the
// program says.
void effect(const romancy::Attempt& at, const std::string& label, const std::string& note = {}) {
  using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
  thread_local Connection conn(nullptr, &PQfinish);
  while (!at.stop_requested()) {
    if (!conn || PQstatus(conn.get()) != CONNECTION_OK) {
      conn.reset(PQconnectdb((std::string(std::getenv("FAULTS_PG")) + " connect_timeout=5").c_str()));
    }
    if (PQstatus(conn.get()) == CONNECTION_OK) {
      const char* values[] = {at.key().c_str(), at.instance_id().c_str(), label.c_str(), note.c_str()};
      const std::unique_ptr<PGresult, decltype(&PQclear)> answer(
          PQexecParams(conn.get(),
                       "INSERT INTO soak.effects (key, instance, label, note) VALUES ($1, $2, $3, $4) "
                       "ON CONFLICT (key) DO UPDATE SET attempts = soak.effects.attempts + 1",
                       4, nullptr, values, nullptr, nullptr, 0),
          &PQclear);
      if (PQresultStatus(answer.get()) == PGRES_COMMAND_OK) return;
    }
    conn.reset();
    std::this_thread::sleep_for(20ms);  // between two tries
  }
  throw romancy::Stopped();
}

// The first `fail` attempts go wrong; then it ends as told.
void as_planned(int number, const Json& in) {
  if (number <= in.value("fail", 0)) throw std::runtime_error("not yet");
  if (in.value("end", "ok") == "terminal") throw romancy::TerminalError("as planned", "Refused");
}
std::int64_t value_of(const Json& in) { return in.at("n").get<std::int64_t>() * 7 + 1; }

const romancy::RetryPolicy kPersistent{.attempts = 0, .first_interval = 20ms, .max_interval = 200ms};

const auto plain = romancy::activity(
    "soak_plain",
    [](romancy::Attempt& at, Json in) {
      as_planned(at.number(), in);
      effect(at, in.at("label").get<std::string>());
      return value_of(in);
    },
    {.retry = kPersistent});

const auto queued = romancy::activity(
    "soak_queued",
    [](romancy::Attempt& at, Json in) {
      const auto told = at.details<Json>();
      if (told && (told->at("key") != at.key() || told->at("attempt").get<int>() > at.number())) {
        throw romancy::TerminalError("these details are not of an attempt before: " + told->dump(), "Details");
      }
      at.heartbeat(Json{{"key", at.key()}, {"attempt", at.number()}});
      as_planned(at.number(), in);
      effect(at, in.at("label").get<std::string>(), told ? "details" : "");
      return value_of(in);
    },
    {.retry = kPersistent, .timeout = 10s, .queue = "soak", .heartbeat_timeout = 2s});

// Served by soak_server, with SQL alone.
const romancy::QueuedActivity<Json, std::int64_t> elsewhere(
    "soak_sql", {.retry = kPersistent, .timeout = 10s, .queue = "soak-sql", .heartbeat_timeout = 2s});

// Of this worker's code, as [[resumer]] says.
std::string version() { return std::getenv("ROMANCY_WORKER_VERSION"); }

std::int64_t write_once(romancy::Transaction& tx, const Json& in) {
  as_planned(tx.number(), in);
  const std::string sql = "INSERT INTO soak.ledger (instance, label, note, generation, version) VALUES ($1, $2, $3, $4, $5)";
  const std::string label = in.at("label").get<std::string>();
  const int generation = in.at("generation").get<int>();
  try {
    tx.savepoint([&] {
      tx.exec(sql, tx.instance_id(), label, "undone", generation, version());
      throw std::runtime_error("undo this");
    });
  } catch (const std::runtime_error&) {
    tx.exec(sql, tx.instance_id(), label, in.value("note", ""), generation, version());
  }
  return value_of(in);
}
const auto transact = romancy::transactional("soak_tx", [](romancy::Transaction& tx, Json in) { return write_once(tx, in); }, {.retry = kPersistent});
const auto serializable =
    romancy::transactional("soak_txs", [](romancy::Transaction& tx, Json in) { return write_once(tx, in); },
                           {.retry = kPersistent, .isolation = romancy::Isolation::serializable});

const auto waits = romancy::async_activity(
    "soak_async",
    [](romancy::AsyncAttempt& at, Json in) -> romancy::Async<std::int64_t> {
      co_await at.sleep(std::chrono::milliseconds(in.value("ms", 5)));
      as_planned(at.number(), in);
      co_return value_of(in);
    },
    {.retry = kPersistent});

const auto brittle = romancy::activity(
    "soak_brittle", [](romancy::Attempt&, Json) -> std::int64_t { throw std::runtime_error("as ever"); },
    {.retry = {.attempts = 3, .first_interval = 10ms, .max_interval = 20ms}});

const auto slow = romancy::activity(
    "soak_slow",
    [](romancy::Attempt& at, Json) -> std::int64_t {
      std::mutex mutex;
      std::condition_variable_any never;
      std::unique_lock lock(mutex);
      never.wait(lock, at.stop_token(), [] { return false; });
      throw romancy::Stopped();
    },
    {.retry = {.attempts = 1}, .timeout = 150ms});

const auto undo = romancy::transactional(
    "soak_undo",
    [](romancy::Transaction& tx, Json in) {
      as_planned(tx.number(), in);
      tx.exec("INSERT INTO soak.ledger (instance, label, generation, version) VALUES ($1, $2, $3, $4)", tx.instance_id(),
              in.at("label").get<std::string>() + "~undo", in.at("generation").get<int>(), version());
    },
    {.retry = kPersistent});

// ---- the interpreter ----------------------------------------------------------------------------------------------------

struct State {
  Json log = Json::object();
};
using S = std::shared_ptr<State>;
// Of the workflow that this is: children run the same.
const romancy::WorkflowName<Json, Json> soak_name("soak");

void done(Context& ctx, const S& s, const Json& step, Json outcome) {
  s->log[step.at("p").get<std::string>()] = std::move(outcome);
  ctx.set_status(Json{{"log", s->log}});
}

Task<> one(Context& ctx, S s, Json step);

Task<> steps(Context& ctx, S s, Json list) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    Task<> part = one(ctx, s, list[i]);
    co_await std::move(part);
  }
}

template <class A>
Task<Json> call(Context& ctx, A activity, Json in) {
  const auto out = co_await ctx.attempt(activity, in);
  Json outcome = Json::object();
  if (out.ok()) outcome["ok"] = out.value();
  else outcome["error"] = out.error().type();
  co_return outcome;
}

Task<> act(Context& ctx, S s, Json step) {
  Json in = step;
  in["label"] = step.at("p");
  in["generation"] = ctx.generation();
  const std::string via = step.at("via").get<std::string>();
  Task<Json> part = via == "plain"     ? call(ctx, plain, in)
                    : via == "queue"   ? call(ctx, queued, in)
                    : via == "sql"     ? call(ctx, elsewhere, in)
                    : via == "tx"      ? call(ctx, transact, in)
                    : via == "txs"     ? call(ctx, serializable, in)
                    : via == "async"   ? call(ctx, waits, in)
                    : via == "brittle" ? call(ctx, brittle, in)
                                       : call(ctx, slow, in);
  const Json outcome = co_await std::move(part);
  done(ctx, s, step, outcome);
}

Task<> sleep(Context& ctx, S s, Json step) {
  const auto length = std::chrono::milliseconds(step.at("ms").get<int>());
  const auto before = ctx.now();
  if (step.value("until", false)) co_await ctx.sleep_until(before + length);
  else co_await ctx.sleep(length);
  const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(ctx.now() - before);
  done(ctx, s, step, Json{{"us", passed.count()}});
}

Task<> all(Context& ctx, S s, Json step) {
  const Json of = step.at("of");
  if (of.size() == 2) {
    Task<> a = steps(ctx, s, of[0]);
    Task<> b = steps(ctx, s, of[1]);
    co_await ctx.when_all(std::move(a), std::move(b));
  } else {
    std::vector<romancy::Future<void>> parts;
    for (const Json& list : of) parts.push_back(ctx.start(steps(ctx, s, list)));
    co_await ctx.wait_all(parts);
  }
  done(ctx, s, step, true);
}

Task<> any(Context& ctx, S s, Json step) {
  const Json of = step.at("of");
  Task<> a = steps(ctx, s, of[0]);
  Task<> b = steps(ctx, s, of[1]);
  const auto first = co_await ctx.when_any(std::move(a), std::move(b));
  done(ctx, s, step, Json{{"won", Json::array({first.index()})}});
}

// The first `take` of several.
Task<> race(Context& ctx, S s, Json step) {
  const Json of = step.at("of");
  std::vector<romancy::Future<void>> parts;
  std::vector<std::size_t> which;
  for (std::size_t i = 0; i < of.size(); ++i) {
    parts.push_back(ctx.start(steps(ctx, s, of[i])));
    which.push_back(i);
  }
  Json won = Json::array();
  for (int left = step.at("take").get<int>(); left > 0; --left) {
    const std::size_t at = co_await ctx.wait_any(parts);
    co_await parts[at];
    won.push_back(which[at]);
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at));
    which.erase(which.begin() + static_cast<std::ptrdiff_t>(at));
  }
  done(ctx, s, step, Json{{"won", won}});
}

// What runs in it ends with a wait that only a cancellation ends.
Task<> scope(Context& ctx, S s, Json step) {
  romancy::Scope around(ctx);
  auto part = around.start(steps(ctx, s, step.at("of")[0]));
  co_await ctx.sleep(std::chrono::milliseconds(step.at("ms").get<int>()));
  around.cancel("enough");
  bool cancelled = false;
  try {
    co_await part;
  } catch (const romancy::WorkflowCancelled&) {
    cancelled = true;
  }
  done(ctx, s, step, Json{{"cancelled", cancelled}});
}

Task<> shield(Context& ctx, S s, Json step) {
  const Json list = step.at("of")[0];
  auto part = ctx.shield([](Context& c, S state, Json inner) -> Task<> {
    Task<> body = steps(c, state, inner);
    co_await std::move(body);
  }, s, list);
  co_await std::move(part);
  done(ctx, s, step, true);
}

// Waits to be cancelled, and cleans up in a shield.
Task<> guard(Context& ctx, S s, Json step) {
  bool cancelled = false;
  try {
    co_await ctx.sleep(kNever);
  } catch (const romancy::WorkflowCancelled&) {
    cancelled = true;
  }
  if (!cancelled) throw std::logic_error("an hour has passed");
  Task<> part = shield(ctx, s, step);
  co_await std::move(part);
}

Json read_index(const romancy::Message<Json>& m) {
  if (m.metadata.value("i", -1) != m.data.at("i").get<int>()) throw std::logic_error("metadata of another message: " + m.metadata.dump());
  return m.data.at("i");
}

Task<> recv(Context& ctx, S s, Json step) {
  const std::string channel = step.at("ch").get<std::string>();
  Json got = Json::array();
  for (int left = step.at("count").get<int>(); left > 0; --left) {
    const bool subscribe = step.value("event", false);
    auto wait = subscribe ? ctx.wait_event<Json>(channel) : ctx.receive_message<Json>(channel);
    const auto m = co_await wait;
    got.push_back(read_index(m));
    if (left > 1) done(ctx, s, step, Json{{"got", got}});
  }
  done(ctx, s, step, Json{{"got", got}, {"done", true}});
}

// May or may not be in time; `then`: what was not is waited for.
Task<> recvfor(Context& ctx, S s, Json step) {
  const std::string channel = step.at("ch").get<std::string>();
  Json got;
  bool in_time = true;
  auto m = co_await ctx.receive_for<Json>(channel, std::chrono::milliseconds(step.at("ms").get<int>()));
  if (m) got = m->at("i");
  else in_time = false;
  if (!in_time && step.value("then", false)) {
    const Json late = co_await ctx.receive<Json>(channel);
    got = late.at("i");
  }
  done(ctx, s, step, Json{{"got", got}, {"in_time", in_time}});
}

// One of those that take a competing channel's messages, until told that none is left.
Task<> consume(Context& ctx, S s, Json step) {
  const std::string channel = step.at("ch").get<std::string>(), stop = step.at("stop").get<std::string>();
  Json got = Json::array();
  for (;;) {
    auto first = co_await ctx.when_any(ctx.receive<Json>(channel), ctx.receive<Json>(stop));
    if (first.index() == 1) break;
    const Json m = first.get<0>();
    got.push_back(m.at("i"));
    ctx.publish(step.at("ack").get<std::string>(), Json{{"i", m.at("i")}}, {.to = step.at("to").get<std::string>(), .metadata = Json{{"i", m.at("i")}}});
    done(ctx, s, step, Json{{"got", got}});
  }
  done(ctx, s, step, Json{{"got", got}, {"done", true}});
}

void pub(Context& ctx, const S& s, const Json& step) {
  for (int i = 0; i < step.at("count").get<int>(); ++i) {
    romancy::PublishOptions options;
    options.metadata = Json{{"i", i}};
    if (step.contains("to")) options.to = step.at("to").get<std::string>();
    if (step.contains("group")) options.to_group = step.at("group").get<std::string>();
    ctx.publish(step.at("ch").get<std::string>(), Json{{"i", i}}, options);
  }
  done(ctx, s, step, true);
}

Task<> child(Context& ctx, S s, Json step) {
  const std::string how = step.at("how").get<std::string>(), id = step.at("id").get<std::string>();
  const Json in{{"steps", step.at("steps")}};
  const std::string key = step.value("key", "");
  const romancy::ChildOptions options{.id = id, .follows = step.value("follows", true), .priority = step.value("priority", 0), .key = key};
  Json outcome = Json::object();
  if (how == "forget") {
    ctx.start_child(soak_name, in, options);
    outcome["started"] = true;
  } else if (how == "detached") {
    ctx.start_workflow(soak_name, in, options);
    outcome["started"] = true;
  } else if (how == "await") {
    try {
      const Json out = co_await ctx.child(soak_name, in, options);
      outcome["ok"] = out.at("log").size();
    } catch (const romancy::ChildError& e) {
      outcome["error"] = e.type();
    }
  } else {  // result, cancel, talk
    const auto started = ctx.start_child(soak_name, in, options);
    if (how == "talk") ctx.publish("talk", Json{{"i", 0}}, {.to = started.id(), .metadata = Json{{"i", 0}}});
    co_await ctx.sleep(std::chrono::milliseconds(step.value("ms", 10)));
    if (how == "cancel") started.cancel("enough");
    try {
      const Json out = co_await started.result();
      outcome["ok"] = out.at("log").size();
    } catch (const romancy::ChildError& e) {
      outcome["error"] = e.type();
    }
  }
  done(ctx, s, step, outcome);
}

Task<> fan(Context& ctx, S s, Json step) {
  std::vector<romancy::Child<Json>> children;
  const std::string prefix = step.at("id").get<std::string>();
  const Json in{{"steps", step.at("steps")}};
  for (int i = 0; i < step.at("width").get<int>(); ++i) {
    const std::string id = prefix + "-" + std::to_string(i);
    children.push_back(ctx.start_child(soak_name, in, {.id = id}));
  }
  std::int64_t sum = 0;
  for (const auto& one_of : children) {
    const Json out = co_await one_of.result();
    sum += static_cast<std::int64_t>(out.at("log").size());
  }
  done(ctx, s, step, Json{{"ok", sum}});
}

// What must be the same in every replay: said twice, once to the ledger.
Task<> pure(Context& ctx, S s, Json step) {
  const std::string said = ctx.uuid() + " " + std::to_string(ctx.random()) + " " +
                           ctx.side_effect("dice", [] { return std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()); });
  ctx.log(romancy::LogLevel::debug, "pure", Json{{"said", said}});
  ctx.publish("binary", romancy::Bytes(std::string_view("\0\xff", 2)), {.to = ctx.instance_id()});
  const auto bytes = co_await ctx.receive<romancy::Bytes>("binary");
  const Json in{{"label", step.at("p")}, {"n", 1}, {"note", said}, {"generation", ctx.generation()}};
  co_await ctx.run(transact, in);
  done(ctx, s, step, Json{{"said", said}, {"bytes", bytes.data.size()}, {"patched", ctx.patched("soak")}, {"generation", ctx.generation()}});
}

Task<> members(Context& ctx, S s, Json step) {
  const std::string group = step.at("group").get<std::string>();
  const std::vector<std::string> ids = co_await ctx.members(group);
  done(ctx, s, step, Json{{"ids", ids}});
}

Task<> one(Context& ctx, S s, Json step) {
  const std::string kind = step.at("k").get<std::string>();
  const auto channel = [&] { return step.at("ch").get<std::string>(); };
  Task<> (*part)(Context&, S, Json) = kind == "act"       ? act
                                      : kind == "sleep"   ? sleep
                                      : kind == "all"     ? all
                                      : kind == "any"     ? any
                                      : kind == "race"    ? race
                                      : kind == "scope"   ? scope
                                      : kind == "shield"  ? shield
                                      : kind == "guard"   ? guard
                                      : kind == "recv"    ? recv
                                      : kind == "recvfor" ? recvfor
                                      : kind == "consume" ? consume
                                      : kind == "child"   ? child
                                      : kind == "fan"     ? fan
                                      : kind == "pure"    ? pure
                                      : kind == "members" ? members
                                                          : nullptr;
  if (part != nullptr) {
    Task<> body = part(ctx, s, step);
    co_await std::move(body);
    co_return;
  }
  if (kind == "pub") {
    pub(ctx, s, step);
    co_return;
  }
  if (kind == "never") co_await ctx.sleep(kNever);
  else if (kind == "sub") ctx.subscribe(channel(), step.value("competing", false) ? romancy::ChannelMode::competing : romancy::ChannelMode::broadcast);
  else if (kind == "unsub") ctx.unsubscribe(channel());
  else if (kind == "join") ctx.join(step.at("group").get<std::string>());
  else if (kind == "leave") ctx.leave(step.at("group").get<std::string>());
  else if (kind == "event") ctx.send_event("soaked", "soak", Json{{"instance", ctx.instance_id()}, {"label", step.at("p")}});
  else if (kind == "cancel") ctx.cancel_workflow(step.at("id").get<std::string>(), "by another");
  else if (kind == "comp" && step.value("never", false)) ctx.compensate_with(brittle, Json{{"label", step.at("p")}});
  else if (kind == "comp") ctx.compensate_with(undo, Json{{"label", step.at("p")}, {"fail", step.value("fail", 0)}, {"generation", ctx.generation()}});
  else if (kind == "forget") ctx.forget_compensations();
  else if (kind == "fail") throw romancy::TerminalError("as planned", "Planned");
  else throw std::logic_error("no step " + kind);
  done(ctx, s, step, true);
}

Task<Json> interpret(Context& ctx, Json input) {
  const auto s = std::make_shared<State>();
  if (input.contains("log")) s->log = input.at("log");
  const Json list = input.at("steps");
  for (std::size_t i = input.value("from", std::size_t{0}); i < list.size(); ++i) {
    const Json step = list[i];
    if (step.at("k") == "recur") {
      done(ctx, s, step, ctx.generation());
      Json next = input;
      next["from"] = i + 1;
      next["log"] = s->log;
      ctx.recur(next);
    }
    Task<> part = one(ctx, s, step);
    co_await std::move(part);
  }
  co_return Json{{"log", s->log}};
}

const auto soak = romancy::workflow("soak", interpret);
const auto limited = romancy::workflow("soak_limited", interpret, {.queue = "soak-limit"});
const auto rated = romancy::workflow("soak_rated", interpret, {.queue = "soak-rate"});
const auto hurried = romancy::workflow("soak_hurried", interpret, {.timeout = 700ms});

}  // namespace

int main(int argc, char** argv) {
  return romancy::run_worker(argc, argv, {soak, limited, rated, hurried}, {plain, queued, transact, serializable, waits, brittle, slow, undo});
}
