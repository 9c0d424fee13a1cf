#include "tests/support/system.hpp"

#include <gtest/gtest.h>

namespace romancy::test {

System::System(SystemOptions options) : options_(std::move(options)), schema_(options_.conninfo) {
  schema_.run(options_.tables);
  // Short intervals, so that what only a poll can find is found soon; while listening the fallback is long on purpose:
  // a test that passes then was woken.
  const std::string& url = options_.through.empty() ? schema_.conninfo() : options_.through;
  config_ = dir_.write("romancy.toml",
                       "[database]\nurl = \"" + url + "\"\nschema = \"" + schema_.name() + "\"\n" +
                           "[runtime]\ndir = \"" + dir_.path() + "\"\n" +
                           "[listener]\nenabled = " + (options_.listen ? "true" : "false") +
                           "\n[poll]\nworkflow_interval = \"50ms\"\ntimer_interval = \"50ms\"\n"
                           "channel_timeout_interval = \"50ms\"\noutbox_interval = \"50ms\"\nfallback_interval = \"" + options_.fallback +
                           "\"\n[session]\ntimeout = \"" + options_.session_timeout + "\"\n" + options_.extra);
  client_ = std::make_unique<pg::Blocking>(schema_.connect());
  sampler_ = std::make_unique<InvariantSampler>(schema_.options(), options_.sample_every);
}

System::~System() {
  // The processes first: none may meet a schema that is being dropped.
  workers_.clear();
  relay_.reset();
  timer_.reset();
  listener_.reset();
  sampler_.reset();
}

void System::start_listener() {
  listener_ = std::make_unique<Daemon>("romancy-listener", std::vector<std::string>{"--config", config_},
                                       dir_.path() + "/listener.log");
}

void System::start_timer() {
  timer_ = std::make_unique<Daemon>("romancy-timer", std::vector<std::string>{"--config", config_}, dir_.path() + "/timer.log");
}

void System::start_relay() {
  relay_ = std::make_unique<Daemon>("romancy-relay", std::vector<std::string>{"--config", config_}, dir_.path() + "/relay.log");
}

void System::start_worker(int number, std::map<std::string, std::string> environment,
                          std::vector<std::string> more_arguments) {
  more_arguments.insert(more_arguments.begin(), {"--config", config_});
  environment.emplace("ROMANCY_TEST_PG", schema_.conninfo());
  environment.emplace("ROMANCY_TEST_SCHEMA", schema_.name());
  environment.emplace("ROMANCY_COMPONENT", "test." + std::to_string(number));
  workers_[number] = std::make_unique<Daemon>(options_.worker, std::move(more_arguments),
                                              dir_.path() + "/worker" + std::to_string(number) + ".log", std::move(environment));
}

void System::start_all(int workers) {
  if (options_.listen) start_listener();
  start_timer();
  for (int i = 1; i <= workers; ++i) start_worker(i);
}

std::string System::stop_all() {
  std::string wrong;
  const auto stop = [&](const std::string& name, Daemon* daemon) {
    if (daemon == nullptr) return;
    const bool ran = daemon->running();
    const int code = daemon->terminate();
    if (!ran || code != 0) wrong += name + (ran ? ": exit code " : " had ended: exit code ") + std::to_string(code) + "\n" + daemon->log();
  };
  for (auto& [number, worker] : workers_) stop("worker " + std::to_string(number), worker.get());
  stop("relay", relay_.get());
  stop("timer", timer_.get());
  stop("listener", listener_.get());
  return wrong;
}

pg::Rows System::sql(const std::string& text, const pg::Params& params) {
  auto rows = client_->query(text, params);
  if (!rows && rows.error().kind == ErrorKind::retry) {  // the server was restarted: the client comes back
    client_ = std::make_unique<pg::Blocking>(schema_.connect());
    rows = client_->query(text, params);
  }
  if (!rows) {
    ADD_FAILURE() << text << ": " << rows.error().text;
    return {};
  }
  return std::move(*rows);
}

std::string System::start(const std::string& workflow, const std::string& input, const std::string& id) {
  const auto rows = sql("SELECT start_workflow($1, $2::jsonb, $3)", pg::Params(workflow, input, id));
  return rows.empty() ? "" : rows.str(0, 0);
}

void System::expect_status(const std::string& id, const std::string& status) {
  const auto state = [&] {
    const auto rows = sql("SELECT status FROM workflow_instances WHERE instance_id = $1", pg::Params(id));
    return rows.empty() ? std::string("unknown") : rows.str(0, 0);
  };
  if (eventually([&] { return state() == status; })) return;
  std::string seen = id + " is " + state() + ", not " + status;
  const auto history = sql("SELECT seq || ' ' || op || ' ' || kind || ' ' || coalesce(name, '') || ' ' || coalesce(data::text, '') "
                           "FROM workflow_history WHERE instance_id = $1 ORDER BY seq", pg::Params(id));
  for (int i = 0; i < history.size(); ++i) seen += "\n  " + history.str(i, 0);
  for (auto& [number, worker] : workers_) seen += "\n-- worker " + std::to_string(number) + "\n" + worker->log();
  if (timer_) seen += "\n-- timer\n" + timer_->log();
  if (listener_) seen += "\n-- listener\n" + listener_->log();
  ADD_FAILURE() << seen;
}

std::string System::output(const std::string& id) {
  const auto rows = sql("SELECT output::text FROM workflow_result($1)", pg::Params(id));
  return rows.empty() || rows.is_null(0, 0) ? "" : rows.str(0, 0);
}

std::int64_t System::count(const std::string& query, const pg::Params& params) {
  const auto rows = sql(query, params);
  return rows.empty() || rows.is_null(0, 0) ? 0 : rows.int64(0, 0);
}

void System::expect_quiescent() {
  testing::AssertionResult last = testing::AssertionFailure() << "never asked";
  if (!eventually([&] { return static_cast<bool>(last = check_quiescent(*client_)); })) {
    ADD_FAILURE() << last.message();
  }
}

void System::stop_sampling() { sampler_->stop(); }

}  // namespace romancy::test
