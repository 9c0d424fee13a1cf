// soak_server: serves the queue "soak-sql" with SQL functions alone, as a program in any language would. Its effect and the task's
// completion are one transaction, so the effect happens exactly once. Killed at any moment, another one begins.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

#include "common/base/json.hpp"
#include "common/pg/blocking.hpp"

using namespace std::chrono_literals;
using namespace romancy;

namespace {

// False: the connection is lost.
bool serve(pg::Blocking& conn, const pg::Rows& task, std::minstd_rand& random) {
  const auto id = task.int64(0, 0), token = task.int64(0, 1);
  const auto in = parse_json(task.text(0, 2), "input");
  if (!in) return false;
  const int attempt = task.int32(0, 3);
  const unsigned choice = random() % 10;
  if (choice == 0) return conn.query("SELECT release_activity_task($1, $2)", pg::Params(id, token)).has_value();
  if (choice < 4 && !conn.query("SELECT heartbeat_activity_task($1, $2, '{\"half\": true}')", pg::Params(id, token))) return false;
  if (attempt <= in->value("fail", 0)) {
    return conn.query("SELECT fail_activity_task($1, $2, 'std::runtime_error', 'not yet')", pg::Params(id, token)).has_value();
  }
  if (in->value("end", "ok") == "terminal") {
    return conn.query("SELECT fail_activity_task($1, $2, 'Refused', 'as planned', false)", pg::Params(id, token)).has_value();
  }
  if (!conn.query("BEGIN")) return false;
  const std::string result = std::to_string(in->at("n").get<std::int64_t>() * 7 + 1);
  if (!conn.query("INSERT INTO soak.ledger (instance, label) VALUES ($1, $2)", pg::Params(task.str(0, 4), in->at("label").get<std::string>()))) return false;
  const auto recorded = conn.query("SELECT complete_activity_task($1, $2, $3)", pg::Params(id, token, result));
  if (!recorded) return false;
  return conn.query(recorded->boolean(0, 0) ? "COMMIT" : "ROLLBACK").has_value();
}

}  // namespace

int main() {
  std::minstd_rand random(std::random_device{}());
  for (;;) {
    pg::ConnOptions options;
    options.conninfo = std::getenv("FAULTS_PG");
    options.application_name = "soak-server";
    options.connect_timeout = 2s;
    auto conn = pg::Blocking::connect(options);
    if (!conn || !conn->query("LISTEN romancy_activity_task")) {
      std::this_thread::sleep_for(100ms);  // between two tries
      continue;
    }
    for (;;) {
      auto task = conn->query("SELECT task_id, token, input, attempt, instance_id FROM claim_activity_tasks('soak-sql', 'soak-server', 1, '2 s')");
      if (!task) {
        std::fprintf(stderr, "claim: %s\n", task.error().text.c_str());
        break;
      }
      if (!task->empty()) {
        if (!serve(*conn, *task, random)) break;
      } else if (!conn->wait_notified(std::chrono::steady_clock::now() + 500ms)) {
        break;
      }
    }
  }
}
