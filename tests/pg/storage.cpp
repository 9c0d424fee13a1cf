#include "tests/pg/storage.hpp"

#include <unistd.h>

#include <atomic>

namespace romancy::test {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

// One array argument, filled row by row.
class Column {
 public:
  explicit Column(std::string type) : type_(std::move(type)) {}
  void add(std::int64_t value) { item(std::to_string(value)); }
  void add(int value) { item(std::to_string(value)); }
  void add(bool value) { item(value ? "true" : "false"); }
  void add(const std::string& value) { item(quoted(value)); }
  void add_or_null(const std::string& value) { item(value.empty() ? "NULL" : quoted(value)); }
  void add_null() { item("NULL"); }
  [[nodiscard]] std::string sql() const { return "ARRAY[" + items_ + "]::" + type_ + "[]"; }

 private:
  void item(const std::string& text) { items_ += (items_.empty() ? "" : ",") + text; }
  std::string type_, items_;
};

// The last of two members with one name counts.
std::string task_policy(const std::string& members) {
  return R"({"attempts": 3, "first_ms": 10, "coefficient": 2, "max_ms": 1000, "jitter": 0, "max_duration_ms": 0, )"
         R"("non_retryable": ["Never"], "timeout_ms": 0, "heartbeat_ms": 3600000)" +
         (members.empty() ? "" : ", " + members) + "}";
}

}  // namespace

std::string commit(std::int64_t session, const std::vector<Did>& runs, int inbox_limit, const std::string& version) {
  Column ids("text"), tokens("bigint"), statuses("smallint"), releases("boolean"), notes("text");
  Column h_run("int"), h_seq("bigint"), h_op("int"), h_kind("smallint"), h_name("text"), h_data("text");
  Column consumed_run("int"), consumed_id("bigint"), seen_run("int"), seen_id("bigint");
  Column back_run("int"), back_id("bigint");
  Column t_run("int"), t_op("int"), t_kind("smallint"), t_after("bigint"), t_at("text");
  Column over_run("int"), over_op("int"), sub_run("int"), sub_channel("text"), sub_on("boolean");
  Column sub_op("int"), sub_mode("smallint"), w_run("int"), w_op("int"), w_channel("text");
  Column g_run("int"), g_name("text"), g_on("boolean"), m_group("text");
  Column m_run("int"), m_channel("text"), m_data("text"), m_metadata("text"), m_target("text");
  Column c_run("int"), c_op("int"), c_id("text"), c_workflow("text"), c_queue("text"), c_input("text"), c_follows("boolean"), c_lane("text");
  Column cancel_run("int"), cancel_id("text"), cancel_reason("text");
  Column p_run("int"), p_value("text");
  Column q_run("int"), q_op("int"), q_activity("text"), q_queue("text"), q_input("text"), q_key("text"), q_policy("text");
  Column stop_run("int"), stop_op("int"), stop_wanted("boolean");
  Column o_run("int"), o_id("text"), o_type("text"), o_source("text"), o_data("text"), o_content("text");
  for (int run = 1; const Did& did : runs) {
    ids.add(did.id), tokens.add(did.token), statuses.add(did.status), releases.add(did.release);
    notes.add_or_null(did.note);
    for (const auto& h : did.history) {
      h_run.add(run), h_seq.add(h.seq), h_op.add(h.op), h_kind.add(h.kind), h_name.add_or_null(h.name);
      h_data.add_or_null(h.data);
    }
    for (const auto id : did.consumed) consumed_run.add(run), consumed_id.add(id);
    for (const auto id : did.seen) seen_run.add(run), seen_id.add(id);
    for (const auto id : did.back) back_run.add(run), back_id.add(id);
    for (const auto& t : did.timers) {
      t_run.add(run), t_op.add(t.op), t_kind.add(t.kind), t_at.add_or_null(t.at);
      t.at.empty() ? t_after.add(t.after_us) : t_after.add_null();
    }
    for (const int op : did.over) over_run.add(run), over_op.add(op);
    for (const auto& w : did.waits) w_run.add(run), w_op.add(w.op), w_channel.add(w.channel);
    for (const auto& s : did.subscriptions) {
      sub_run.add(run), sub_op.add(s.op), sub_channel.add(s.channel), sub_on.add(s.on), sub_mode.add(s.mode);
    }
    for (const auto& g : did.groups) g_run.add(run), g_name.add(g.name), g_on.add(g.on);
    for (const auto& m : did.messages) {
      m_run.add(run), m_channel.add(m.channel), m_data.add(m.data), m_metadata.add(std::string("{}"));
      m_target.add_or_null(m.target), m_group.add_or_null(m.group);
    }
    for (const auto& id : did.outbox) {
      o_run.add(run), o_id.add(id), o_type.add(std::string("type")), o_source.add(std::string("source"));
      o_data.add(std::string("{}")), o_content.add(std::string("application/json"));
    }
    for (const auto& c : did.children) {
      c_run.add(run), c_op.add(c.op), c_id.add(c.id), c_workflow.add(c.workflow), c_queue.add(std::string("default"));
      c_input.add(c.input), c_follows.add(c.follows), c_lane.add(c.lane);
    }
    for (const auto& cancel : did.cancels) {
      cancel_run.add(run), cancel_id.add(cancel.id), cancel_reason.add(cancel.reason);
    }
    if (!did.progress.empty()) p_run.add(run), p_value.add(did.progress);
    for (const auto& task : did.tasks) {
      q_run.add(run), q_op.add(task.op), q_activity.add(task.activity), q_queue.add(task.queue), q_input.add(task.input);
      q_key.add(did.id + ":" + std::to_string(task.op) + ":0"), q_policy.add(task_policy(task.policy));
    }
    for (const auto& stop : did.stops) stop_run.add(run), stop_op.add(stop.op), stop_wanted.add(stop.wanted);
    ++run;
  }
  std::string sql = "SELECT run, accepted, released, inbox FROM commit_runs(" + std::to_string(session);
  for (const Column* column :
       {&ids, &tokens, &statuses, &releases, &notes, &h_run, &h_seq, &h_op, &h_kind, &h_name, &h_data, &consumed_run,
        &consumed_id, &seen_run, &seen_id, &back_run, &back_id, &t_run, &t_op, &t_kind, &t_after, &t_at, &over_run,
        &over_op, &w_run, &w_op, &w_channel, &sub_run, &sub_op, &sub_channel, &sub_on, &sub_mode, &g_run, &g_name,
        &g_on, &m_run, &m_channel, &m_data, &m_metadata, &m_target, &m_group, &o_run, &o_id, &o_type, &o_source,
        &o_data, &o_content, &c_run, &c_op, &c_id, &c_workflow, &c_queue, &c_input, &c_follows, &c_lane, &cancel_run, &cancel_id,
        &cancel_reason, &p_run, &p_value,
        &q_run, &q_op, &q_activity, &q_queue, &q_input, &q_key, &q_policy, &stop_run, &stop_op,
        &stop_wanted}) {
    sql += ", " + column->sql();
  }
  return sql + ", " + std::to_string(inbox_limit) + (version.empty() ? "" : ", version => " + quoted(version)) + ")";
}

std::string claim(std::int64_t session, const std::string& columns, const std::string& mark, int want) {
  return "SELECT " + columns + " FROM claim_runs(" + std::to_string(session) + ", " + kRoute + " || 0::bigint, '{" +
         mark + ",0}', " + std::to_string(want) + ", 100) WHERE instance_id IS NOT NULL ORDER BY instance_id";
}

std::string claim_summary(std::int64_t session, const std::string& key, const std::string& mark, int want) {
  return "SELECT inbox ->> '" + key + "' FROM claim_runs(" + std::to_string(session) +
         ", " + kRoute + " || 0::bigint, '{" + mark + ",0}', " + std::to_string(want) + ", 100) WHERE instance_id IS NULL";
}

std::string claim_at(const std::string& version, std::int64_t session, const std::string& columns, const std::string& marks) {
  return "SELECT " + columns + " FROM claim_runs(" + std::to_string(session) + ", " + kRoute +
         " || route_id('default', 'w', " + quoted(version) + ") || 0::bigint, '{" + marks +
         "}', 100, 100) WHERE instance_id IS NOT NULL ORDER BY instance_id";
}

std::string start_session(std::int64_t session, const std::string& former, const std::string& timeout,
                          const std::string& version) {
  return "SELECT route_id, queue, workflow_name FROM start_session(" + std::to_string(session) +
         ", 'worker', 'resumer', '{default}', '{w}', '" + timeout + "', '" + former + "'" +
         (version.empty() ? "" : ", " + quoted(version)) + ")";
}

std::string start(const std::string& id) { return "SELECT start_workflow('w', '{}', '" + id + "')"; }

std::string tell(const std::string& id, const std::string& channel, const std::string& data) {
  return "SELECT publish('" + channel + "', '" + data + "', target_instance_id => '" + id + "') IS NOT NULL";
}

Storage::Storage() {
  static std::atomic<std::int64_t> number = 0;
  const std::string moved = " + " + std::to_string((std::int64_t{::getpid()} << 32) + (++number << 16)) + ")";
  schema.patch("start_session", "pg_try_advisory_lock(v_session)", "pg_try_advisory_lock(v_session" + moved);
  schema.patch("start_session", "pg_advisory_unlock(v_former)", "pg_advisory_unlock(v_former" + moved);
  schema.patch("session_is_orphaned", "pg_try_advisory_xact_lock($1)", "pg_try_advisory_xact_lock($1" + moved);
  schema.patch("holds_session_lock", "session_id >> 32", "(session_id" + moved + " >> 32");
  schema.patch("holds_session_lock", "session_id & 4294967295", "(session_id" + moved + " & 4294967295");
}

void Storage::leased(const std::string& id) {
  a.run(start_session(1));
  a.run(start(id));
  const std::string first = a.run(claim(1, "inbox -> 0 -> 0"));
  a.run(commit(1, {{.id = id, .release = false, .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(first)}}}));
}

std::string Storage::counts(const std::vector<std::string>& tables) {
  std::string sql;
  for (const auto& table : tables) sql += (sql.empty() ? "SELECT " : ", ") + ("(SELECT count(*) FROM " + table + ")");
  return c.run(sql);
}

}  // namespace romancy::test
