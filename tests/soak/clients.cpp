#include <algorithm>

#include "tests/soak/soak.hpp"

namespace romancy::soak {

using namespace std::chrono_literals;

namespace {

constexpr int kClients = 4;

bool ready(std::unique_ptr<pg::Blocking>& conn, const std::string& conninfo) {
  if (conn && !conn->alive()) conn.reset();
  if (conn) return true;
  pg::ConnOptions options;
  options.conninfo = conninfo;
  options.application_name = "soak-client";
  options.connect_timeout = 2s;
  auto connected = pg::Blocking::connect(options);
  if (connected) conn = std::make_unique<pg::Blocking>(std::move(*connected));
  else std::this_thread::sleep_for(50ms);  // between two tries
  return conn != nullptr;
}

}  // namespace

Clients::Clients(std::string conninfo, std::function<void(const std::string&, const std::string&)> violation)
    : conninfo_(std::move(conninfo)), violation_(std::move(violation)) {
  for (int i = 0; i < kClients; ++i) threads_.emplace_back([this] { work(); });
}

Clients::~Clients() {
  stop_ = true;
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Clients::take(const std::shared_ptr<const Program>& program) {
  const std::lock_guard lock(mutex_);
  Turn turn;
  turn.program = program;
  turn.due = Clock::now() + std::chrono::milliseconds(program->actions.empty() ? 0 : program->actions.front().after_ms);
  turns_[program->id] = std::move(turn);
  wake_.notify_one();
}

bool Clients::done(const std::string& program) {
  const std::lock_guard lock(mutex_);
  const auto turn = turns_.find(program);
  return turn == turns_.end();
}

std::map<std::string, int> Clients::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void Clients::work() {
  std::unique_ptr<pg::Blocking> conn;
  Client client(conninfo_);
  std::unique_lock lock(mutex_);
  while (!stop_) {
    Turn* due = nullptr;
    for (auto& [id, turn] : turns_) {
      if (!turn.busy && turn.due <= Clock::now() && (due == nullptr || turn.due < due->due)) due = &turn;
    }
    if (due == nullptr) {
      wake_.wait_for(lock, 10ms);
      continue;
    }
    due->busy = true;
    const Turn turn = *due;  // nobody else touches it while it is busy; the map may grow
    const std::string id = turn.program->id;
    lock.unlock();
    const Came came = perform(conn, client, turn);
    lock.lock();
    Turn& after = turns_.at(id);
    after.busy = false;
    if (came == Came::not_yet) {
      after.due = Clock::now() + 40ms;
      continue;
    }
    const Action& did = turn.program->actions[turn.next];
    ++counts_["client: " + did.what];
    if (did.with.value("level", "READ COMMITTED") != "READ COMMITTED") ++counts_["client: under an old snapshot"];
    if (did.with.value("rolled_back", false)) ++counts_["client: rolled back"];
    if (did.with.value("hold_ms", 0) > 0) ++counts_["client: a transaction held open"];
    if (did.with.contains("at_ms")) ++counts_["client: start_at"];
    if (did.with.contains("by_client")) ++counts_["client: start, by client.hpp"];
    if (did.with.contains("priority")) ++counts_["client: start, with a priority"];
    if (did.with.contains("key")) ++counts_["client: start, with a key"];
    if (did.with.contains("on_finished")) ++counts_["client: start, " + did.with.at("on_finished").get<std::string>()];
    if (++after.next == turn.program->actions.size()) turns_.erase(id);
    else after.due = Clock::now() + std::chrono::milliseconds(turn.program->actions[after.next].after_ms);
  }
}

void Clients::once(std::unique_ptr<pg::Blocking>& conn, const std::string& key, const Action& action,
                   const std::vector<std::pair<std::string, pg::Params>>& statements) {
  const std::string level = action.with.value("level", "READ COMMITTED");
  while (!stop_) {
    if (!ready(conn, conninfo_)) continue;
    const auto known = conn->query("SELECT EXISTS (SELECT FROM soak.done WHERE key = $1)", pg::Params(key));
    if (!known) continue;
    if (known->boolean(0, 0)) return;
    Result<pg::Rows> last = conn->query("BEGIN ISOLATION LEVEL " + level);
    if (last) last = conn->query("INSERT INTO soak.done VALUES ($1)", pg::Params(key));
    for (const auto& [sql, params] : statements) {
      if (last) last = conn->query(sql, params);
    }
    if (last && action.with.value("hold_ms", 0) > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(action.with.at("hold_ms").get<int>()));  // what is tested: a transaction that stays open
    }
    if (last) last = conn->query("COMMIT");
    if (last) return;
    const Error error = last.error();
    if (conn->alive() && !conn->query("ROLLBACK")) conn.reset();
    if (error.kind == ErrorKind::retry || error.sqlstate.starts_with("40") || error.sqlstate.starts_with("57") || error.sqlstate.starts_with("08")) continue;
    violation_(action.with.value("id", key), "a client's " + action.what + " was refused: " + error.sqlstate + " " + error.text);
    return;
  }
}

// With client.hpp: each call is a transaction of its own, and a start with an id may be made again.
Clients::Came Clients::by_client(Client& client, const Action& action) {
  const Json& with = action.with;
  const std::string id = with.at("id"), key = with.value("key", "");
  try {
    if (action.what == "start") {
      const WorkflowName<Json, Json> workflow(with.at("workflow"), with.value("queue", "default"));
      client.start(workflow, with.at("input"), {.id = id, .priority = with.value("priority", 0), .key = key});
    } else if (const Json output = client.wait<Json>(id, 300ms); !output.contains("log")) {
      violation_(id, "client.wait() got " + output.dump());
    }
  } catch (const WorkflowFailed&) {
  } catch (const WaitTimedOut&) {
    return Came::not_yet;
  } catch (const ClientError& e) {
    if (e.may_be_tried_again()) return Came::not_yet;
    violation_(id, "client.hpp: " + action.what + ": " + e.sqlstate() + " " + e.what());
  }
  return Came::done;
}

Clients::Came Clients::perform(std::unique_ptr<pg::Blocking>& conn, Client& client, const Turn& turn) {
  const Action& action = turn.program->actions[turn.next];
  const Json& with = action.with;
  const std::string what = action.what, key = turn.program->id + "#" + std::to_string(turn.next);
  const std::string id = with.value("id", with.value("name", ""));
  std::vector<std::pair<std::string, pg::Params>> todo;
  if (with.contains("by_client") || what == "wait") return by_client(client, action);
  if (what == "start") {
    const std::string input = dump_json(with.at("input")), workflow = with.at("workflow"), finished = with.value("on_finished", "return");
    if (with.contains("at_ms")) {
      const int ms = with.at("at_ms");
      todo.emplace_back("INSERT INTO soak.starts SELECT $1, clock_timestamp() + $2 * interval '1 ms'", pg::Params(id, ms));
    }
    const std::string queue = with.value("queue", "default");
    const int priority = with.value("priority", 0);
    std::optional<std::string> name;
    if (with.contains("key")) name = with.at("key").get<std::string>();
    todo.emplace_back("SELECT start_workflow($1, $2, $3, $5, $6, on_finished => $4, start_at => (SELECT at FROM soak.starts WHERE id = $3), key => $7)",
                      pg::Params(workflow, input, id, finished, queue, priority, name));
  } else if (what == "publish") {
    const std::string channel = with.at("ch");
    const auto send = [&](int i) {
      const std::string data = dump_json(Json{{"i", i}});
      if (with.contains("group")) return std::pair<std::string, pg::Params>("SELECT publish_to_group($3, $1, $2, $2)", pg::Params(channel, data, with.at("group").get<std::string>()));
      std::optional<std::string> to;
      if (with.contains("to")) to = with.at("to").get<std::string>();
      return std::pair<std::string, pg::Params>("SELECT publish($1, $2, $2, $3)", pg::Params(channel, data, to));
    };
    if (with.value("rolled_back", false) && ready(conn, conninfo_)) {
      // What never committed must never arrive.
      const auto [sql, params] = send(-7);
      auto sent = conn->query("BEGIN ISOLATION LEVEL " + with.value("level", "READ COMMITTED"));
      if (sent) sent = conn->query(sql, params);
      if (!conn->alive() || !conn->query("ROLLBACK")) conn.reset();
    }
    todo.push_back(send(with.at("i").get<int>()));
  } else if (what == "cancel") {
    todo.emplace_back("SELECT soak.cancel($1)", pg::Params(id));
  } else if (what == "declare") {
    todo.emplace_back("SELECT declare_channel($1, 'competing')", pg::Params(with.at("ch").get<std::string>()));
  } else if (what == "until" || what == "await") {
    if (!ready(conn, conninfo_)) return Came::not_yet;
    const bool finished = with.value("finished", false);
    const auto now = what == "await" ? conn->query("SELECT status = 'completed' FROM await_workflow($1)", pg::Params(id))
                     : finished      ? conn->query("SELECT finished_at IS NOT NULL FROM workflow_instances WHERE instance_id = $1", pg::Params(id))
                                     : conn->query("SELECT progress -> 'log' ? $2 AND (NOT progress -> 'log' -> $2 ? 'got' OR progress -> 'log' -> $2 ? 'done') "
                                                     "FROM workflow_instances WHERE instance_id = $1", pg::Params(id, with.at("p").get<std::string>()));
    return now && !now->empty() && !now->is_null(0, 0) && now->boolean(0, 0) ? Came::done : Came::not_yet;
  } else if (what == "refused") {
    if (!ready(conn, conninfo_)) return Came::not_yet;
    const auto started = conn->query("SELECT start_workflow('soak', '{\"steps\": []}', $1, on_finished => 'refuse')", pg::Params(id));
    if (!started && started.error().sqlstate != "55000") return Came::not_yet;
    if (started) violation_(id, "a finished id was started again, and was to be refused");
    return Came::done;
  } else if (what == "remove") {
    todo.emplace_back("SELECT soak.remove($1)", pg::Params(id));
  } else if (what == "set_queue") {
    const auto limit = [&](const char* which) { return with.contains(which) ? std::optional<int>(with.at(which).get<int>()) : std::nullopt; };
    todo.emplace_back("SELECT set_queue($1, concurrency => $2, key_concurrency => $3, rate => $4)",
                      pg::Params(with.at("queue").get<std::string>(), limit("concurrency"), limit("key_concurrency"), limit("rate")));
  } else if (what == "pause_queue" || what == "resume_queue" || what == "remove_queue") {
    todo.emplace_back("SELECT " + what + "($1)", pg::Params(with.at("queue").get<std::string>()));
  } else if (what == "drain_version" || what == "resume_version") {
    todo.emplace_back("SELECT " + what + "($1)", pg::Params(with.at("version").get<std::string>()));
  } else if (what == "move") {
    todo.emplace_back("SELECT soak.move($1, $2)", pg::Params(id, with.at("version").get<std::string>()));
  } else if (what == "schedule") {
    const std::string input = dump_json(with.at("input")), overlap = with.at("overlap");
    const bool cron = with.at("cron");
    const int jitter = with.at("jitter_ms");
    todo.emplace_back(cron ? "SELECT create_schedule($1, 'soak', cron => '*/1 * * * *', time_zone => 'Europe/Berlin', input => $2, overlap => $3, jitter => $4 * interval '1 ms')"
                           : "SELECT create_schedule($1, 'soak', every => '1 second', input => $2, overlap => $3, jitter => $4 * interval '1 ms')",
                      pg::Params(id, input, overlap, jitter));
  } else if (what == "pause" || what == "resume" || what == "trigger") {
    todo.emplace_back("SELECT " + what + "_schedule($1)", pg::Params(id));
    if (what == "trigger") todo.back().first = "INSERT INTO soak.triggered SELECT trigger_schedule($1)";
  } else if (what == "unschedule") {
    // Of one that was never paused, each second since it was made is a tick that it has seen to.
    todo.emplace_back("INSERT INTO soak.schedules SELECT name, started, started + overlapped + missed + (queued_tick IS NOT NULL)::int, CASE WHEN $2 AND every IS NOT NULL THEN "
                      "coalesce(extract(epoch FROM next_tick)::bigint - floor(extract(epoch FROM planned_from))::bigint - 1, 0) END FROM schedules WHERE name = $1 FOR UPDATE",
                      pg::Params(id, with.at("whole").get<bool>()));
    todo.emplace_back("SELECT remove_schedule($1)", pg::Params(id));
  } else {
    violation_(id, "no action " + what);
    return Came::done;
  }
  once(conn, key, action, todo);
  return Came::done;
}

}  // namespace romancy::soak
