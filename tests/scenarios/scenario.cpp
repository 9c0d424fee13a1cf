#include "tests/scenarios/scenario.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace romancy::test {
namespace {

std::string shell_word(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// The last lines of every log beside the configuration.
std::string logs_beside(const std::string& config) {
  std::string all;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(config).parent_path())) {
    if (entry.path().extension() != ".log") continue;
    std::ifstream file(entry.path());
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (text.size() > 3000) text.erase(0, text.size() - 3000);
    all += "\n-- " + entry.path().filename().string() + "\n" + text;
  }
  return all;
}

}  // namespace

void Client::attach(const std::string& conninfo, const std::string& schema, const std::string& config) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = test->name();
  name.resize(std::min<std::size_t>(name.find('/'), 60));
  prefix_ = name + "-" + std::to_string(::getpid()) + "-";
  schema_ = schema;
  config_ = config;
  conninfo_ = conninfo;
  pg::ConnOptions options;
  options.conninfo = conninfo;
  options.application_name = "scenario";
  options.schema = schema;
  auto conn = pg::Blocking::connect(options);
  if (!conn) throw std::runtime_error(conn.error().text);  // nothing can be asked: the test ends here
  conn_ = std::make_unique<pg::Blocking>(std::move(*conn));
  sql("SET ROLE " + schema + "_client");
}

std::unique_ptr<Client> Client::another() const {
  auto other = std::make_unique<Client>();
  other->attach(conninfo_, schema_, config_);
  return other;
}

pg::Rows Client::sql(const std::string& text, const pg::Params& params) {
  auto rows = conn_->query(text, params);
  if (!rows) {
    ADD_FAILURE() << text << ": " << rows.error().text << " [" << rows.error().sqlstate << "]";
    return {};
  }
  return std::move(*rows);
}

std::string Client::one(const std::string& text, const pg::Params& params) {
  const auto rows = sql(text, params);
  return rows.empty() || rows.is_null(0, 0) ? "" : rows.str(0, 0);
}

std::int64_t Client::count(const std::string& text, const pg::Params& params) {
  const auto rows = sql(text, params);
  return rows.empty() || rows.is_null(0, 0) ? 0 : rows.int64(0, 0);
}

std::string Client::refused(const std::string& text, const pg::Params& params) {
  const auto rows = conn_->query(text, params);
  if (rows) {
    ADD_FAILURE() << "not refused: " << text;
    return "";
  }
  return rows.error().sqlstate + " " + rows.error().text;
}

namespace {

Said run(const std::string& command) {
  Said said;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) {
    ADD_FAILURE() << "popen: " << command;
    return said;
  }
  char buffer[4096];
  for (std::size_t got; (got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) said.out.append(buffer, got);
  said.exit_code = WEXITSTATUS(::pclose(pipe));
  return said;
}

}  // namespace

Said Client::romancy(std::vector<std::string> arguments) {
  std::string command = shell_word(program_path("romancy")) + " --config " + shell_word(config_);
  for (const auto& word : arguments) command += " " + shell_word(word);
  return run(command);
}

Said Client::replay(const std::vector<std::string>& ids, const std::string& code) {
  const TempDir dir;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const Said exported = romancy({"history", "export", ids[i]});
    EXPECT_EQ(exported.exit_code, 0) << exported.out;
    dir.write(std::to_string(i) + ".json", exported.out);
  }
  return run("SCENARIO_CODE=" + shell_word(code) + " " + shell_word(program_path("scenario_worker")) + " --replay " + shell_word(dir.path()));
}

std::string Client::start(const std::string& workflow, const Json& input, const std::string& name) {
  return one("SELECT start_workflow($1, $2::jsonb, $3)", pg::Params(workflow, input.dump(), mine(name)));
}

std::int64_t Client::publish(const std::string& id, const std::string& channel, const Json& data) {
  return count("SELECT publish($1, $2::jsonb, target_instance_id => $3)", pg::Params(channel, data.dump(), id));
}

std::int64_t Client::broadcast(const std::string& channel, const Json& data) {
  return count("SELECT publish($1, $2::jsonb)", pg::Params(channel, data.dump()));
}

bool Client::cancel(const std::string& id, const std::string& reason) {
  const auto rows = sql("SELECT cancel_workflow($1, $2)", pg::Params(id, reason));
  return !rows.empty() && rows.boolean(0, 0);
}

std::string Client::status(const std::string& id) {
  return one("SELECT status FROM workflow_instances WHERE instance_id = $1", pg::Params(id));
}

std::string Client::story(const std::string& id) {
  std::string told = id + " is " + status(id) + "; note: " + note(id);
  for (const auto& line : history(id)) told += "\n  " + line;
  for (const auto& what : effects(id)) told += "\n  effect " + what;
  return told + logs_beside(config_);
}

void Client::expect_status(const std::string& id, const std::string& wanted) {
  if (!eventually([&] { return status(id) == wanted; })) ADD_FAILURE() << "wanted: " << wanted << "; " << story(id);
}

Json Client::output(const std::string& id) {
  const auto text = one("SELECT coalesce(output, 'null')::text FROM workflow_result($1)", pg::Params(id));
  return text.empty() ? Json() : Json::parse(text);
}

void Client::expect_completed(const std::string& id, const Json& wanted) {
  expect_status(id, "completed");
  EXPECT_EQ(output(id), wanted) << id;
}

Json Client::expect_failed(const std::string& id) {
  expect_status(id, "failed");
  const auto text = one("SELECT error::text FROM workflow_result($1)", pg::Params(id));
  return text.empty() ? Json::object() : Json::parse(text);
}

Json Client::expect_cancelled(const std::string& id) {
  expect_status(id, "cancelled");
  const auto text = one("SELECT error::text FROM workflow_result($1)", pg::Params(id));
  return text.empty() ? Json::object() : Json::parse(text);
}

std::string Client::note(const std::string& id) {
  return one("SELECT note FROM workflow_instances WHERE instance_id = $1", pg::Params(id));
}

void Client::expect_at_rest(const std::string& id) {
  if (!eventually([&] { return one("SELECT at_rest($1)", pg::Params(id)) == "t"; })) {
    ADD_FAILURE() << "not at rest: " << story(id);
  }
}

void Client::expect_timer(const std::string& id, const std::string& kind) {
  if (!eventually([&] {
        return one("SELECT at_rest($1) AND EXISTS (SELECT FROM timers WHERE instance_id = $1 AND kind = $2)",
                   pg::Params(id, kind)) == "t";
      })) {
    ADD_FAILURE() << "no timer " << kind << ": " << story(id);
  }
}

std::vector<std::string> Client::effects(const std::string& id) {
  std::vector<std::string> all;
  const auto rows = sql("SELECT what FROM effects WHERE instance_id = $1 ORDER BY id", pg::Params(id));
  for (int i = 0; i < rows.size(); ++i) all.push_back(rows.str(i, 0));
  return all;
}

std::int64_t Client::times(const std::string& id, const std::string& what) {
  return count("SELECT count(*) FROM effects WHERE instance_id = $1 AND what = $2", pg::Params(id, what));
}

void Client::expect_outside(const std::string& gate) {
  EXPECT_TRUE(eventually([&] {
    return one("SELECT pg_try_advisory_xact_lock(hashtextextended('inside ' || $1, 0))", pg::Params(gate)) == "t";
  })) << "a transaction is still inside " << gate;
}

void Client::expect_times(const std::string& id, const std::string& what, std::int64_t wanted) {
  if (!eventually([&] { return times(id, what) >= wanted; })) ADD_FAILURE() << "no effect " << what << ": " << story(id);
  EXPECT_EQ(times(id, what), wanted) << what;
}

std::vector<std::string> Client::history(const std::string& id) {
  std::vector<std::string> all;
  const auto rows =
      sql("SELECT kind || coalesce(' ' || nullif(name, ''), '') FROM workflow_history WHERE instance_id = $1 ORDER BY seq",
          pg::Params(id));
  for (int i = 0; i < rows.size(); ++i) all.push_back(rows.str(i, 0));
  return all;
}

std::int64_t Client::history_count(const std::string& id, const std::string& kind) {
  return count("SELECT count(*) FROM workflow_history WHERE instance_id = $1 AND kind = $2", pg::Params(id, kind));
}

Json Client::history_data(const std::string& id, const std::string& kind) {
  const auto text =
      one("SELECT data::text FROM workflow_history WHERE instance_id = $1 AND kind = $2 ORDER BY seq LIMIT 1", pg::Params(id, kind));
  return text.empty() ? Json() : Json::parse(text);
}

void Client::expect_nothing_left() {
  std::string left;
  const auto clean = [&] {
    left.clear();
    const auto rows = sql("SELECT instance_id || ': ' || what FROM leftovers($1)", pg::Params(prefix_));
    for (int i = 0; i < rows.size(); ++i) left += "\n  " + rows.str(i, 0);
    return left.empty();
  };
  if (!eventually(clean)) ADD_FAILURE() << "left over:" << left;
}

std::string site_file(const Mode& mode) { return std::string(ROMANCY_BUILD_DIR) + "/scenarios/" + name_of(mode) + ".site"; }

void Scenario::SetUp() {
  std::ifstream file(site_file(GetParam()));
  std::string conninfo, schema, config;
  ASSERT_TRUE(std::getline(file, conninfo) && std::getline(file, schema) && std::getline(file, config))
      << "no resident installation: run it by ./dev test -R, which starts one";
  attach(conninfo, schema, config);
}

void Scenario::TearDown() {
  if (attached() && !leaves_work_) expect_nothing_left();
}

namespace {

// A hint sent to a worker that dies or stalls with it is lost: what it was about is found by the fallback.
SystemOptions own_options(SystemOptions options, const std::string& session_timeout, const std::string& fallback) {
  if (options.fallback != "100ms") options.fallback = fallback;
  options.session_timeout = session_timeout;
  return options;
}

}  // namespace

OwnScenario::OwnScenario(const std::string& more_toml, const std::string& session_timeout, const std::string& fallback)
    : system(own_options(options_of(GetParam(), more_toml), session_timeout, fallback)) {
  prepare(system, GetParam());
}

void OwnScenario::SetUp() { attach(system.made().conninfo(), system.schema(), system.config()); }

void OwnScenario::TearDown() {
  if (attached() && !leaves_work_) expect_nothing_left();
}

}  // namespace romancy::test
