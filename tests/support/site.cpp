#include "tests/support/site.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/unique_fd.hpp"

namespace romancy::test {
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr int kReaders = 3;
constexpr int kSteps = 4;  // of a walk
constexpr auto kTick = 50ms;
constexpr auto kDrain = std::chrono::seconds(120);  // a hang guard

// A tick of the load is one transaction: it happened or it did not, also when its answer is lost.
constexpr const char* kLoad = R"sql(
CREATE SCHEMA load;
CREATE TABLE load.effects (key text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), attempts int NOT NULL DEFAULT 1);
CREATE TABLE load.ticks (n int PRIMARY KEY);
CREATE FUNCTION load.tick(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO load.ticks VALUES (n);
  PERFORM romancy.start_workflow('probe', 'null', 'p-' || n);
  IF n % 10 = 0 THEN
    PERFORM romancy.start_workflow('walk', '4', 'w-' || n);
  END IF;
  PERFORM romancy.publish('mail', to_jsonb(n / 3), '{}', 'r-' || n % 3);
  PERFORM romancy.add_outbox_event('ticked', 'faults', jsonb_build_object('n', n), 'e-' || n);
END
$$;
)sql";

std::string joined(const pg::Rows& rows) {
  std::string text;
  for (int i = 0; i < rows.size() && i < 20; ++i) text += "\n  " + rows.str(i, 0);
  return text;
}

}  // namespace

Site::Site(SiteOptions options) : options_(std::move(options)) {
  ::signal(SIGPIPE, SIG_IGN);
  server_ = std::make_unique<Server>(options_.server);
  now_at_ = server_.get();
  receiver_ = std::make_unique<HttpServer>([this](const HttpRequest& request) {
    const std::lock_guard lock(script_mutex_);
    std::string answer = script_ ? script_(request) : http_answer(204);
    if (answer.starts_with("HTTP/1.1 2")) accepted_.insert(request.headers.contains("ce-id") ? request.headers.at("ce-id") : "");
    return answer;
  });
  runtime_dir_ = options_.runtime_dir.empty() ? dir_.path() + "/run" : options_.runtime_dir;
  run_sql(kLoad);
  const std::string worker = program_path("fault_worker");
  base_toml_ = "[database]\nurl = \"" + (options_.url ? options_.url(*server_) : server_->app_conninfo()) + "\"\nmigrate = true\n" +
               "[runtime]\ndir = \"" + runtime_dir_ + "\"\n" +
               "[listener]\nreconnect_delay_max = \"1s\"\n" + options_.listener +
               "[session]\ntimeout = \"" + options_.session_timeout + "\"\n" +
               "[relay]\nurl = \"" + receiver_->url() + "\"\nretry_delay = \"100ms\"\nretry_delay_max = \"1s\"\n" + options_.relay +
               "[supervisor]\n" + options_.supervisor + options_.extra +
               "[[resumer]]\nname = \"worker\"\ncommand = [" + (options_.wrap ? options_.wrap(dir_.path(), worker) : "\"" + worker + "\"") +
               "]\nprocesses = 2\n" + options_.resumer;
  config_ = dir_.write("romancy.toml", base_toml_);
  dir_.write("cli.toml", base_toml_);  // for us: a row may make nonsense of the other
}

Site::~Site() {
  load_ = false;
  if (generator_.joinable()) generator_.join();
  sampler_.reset();
  supervisor_.reset();  // its children see the end of their control pipe
}

void Site::write_config(const std::string& more) { dir_.write("romancy.toml", base_toml_ + more); }

void Site::start_supervisor() {
  auto environment = options_.environment;
  if (!options_.inherit_pg) environment.emplace("FAULTS_PG", server_->conninfo());
  environment.emplace("FAULTS_DIR", dir_.path());
  std::vector<std::string> command = options_.before;
  command.insert(command.end(), {program_path("romancy-supervisor"), "--config", config_});
  const std::string program = command.front();
  command.erase(command.begin());
  supervisor_ = std::make_unique<Daemon>(program, command, options_.log.empty() ? dir_.path() + "/log" : options_.log, environment);
  if (first_supervisor_ == 0) first_supervisor_ = supervisor_->pid();
}

void Site::sample() {
  if (sampler_) return;
  run_sql("SET search_path = romancy; SELECT 1");
  pg::ConnOptions options;
  options.conninfo = now_at_->conninfo();
  options.application_name = "faults-sampler";
  sampler_ = std::make_unique<InvariantSampler>(options, 100ms);
}

// --- the suite ---------------------------------------------------------------------------------------------------------

int Site::cli(const std::string& arguments, std::string* output, const std::string& config) {
  const std::string file = config.empty() ? dir_.path() + "/cli.toml" : config;
  std::FILE* pipe = ::popen((program_path("romancy") + " --config " + file + " " + arguments + " 2>&1").c_str(), "re");
  if (!pipe) return -1;
  std::string text;
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, got);
  const int status = ::pclose(pipe);
  if (output) *output = std::move(text);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Json Site::status(const std::string& config) {
  std::string text;
  if (cli("status --json", &text, config) != 0) return nullptr;
  const auto json = parse_json(text, "status");
  return json ? *json : Json(nullptr);
}

Json Site::component(const std::string& name) {
  const Json all = status();
  if (all.is_null()) return nullptr;
  for (const Json& one : all.at("components")) {
    if (one.value("name", "") == name) return one;
  }
  return nullptr;
}

pid_t Site::pid(const std::string& name) {
  pid_t pid = 0;
  EXPECT_TRUE(eventually([&] {
    const Json one = component(name);
    if (!one.is_null()) pid = one.value("pid", 0);
    return pid > 0;
  })) << name << " does not run\n" << log();
  return pid;
}

std::map<std::string, pid_t> Site::pids() {
  std::map<std::string, pid_t> found;
  const Json all = status();
  if (all.is_null()) return found;
  for (const Json& one : all.at("components")) {
    if (one.value("pid", 0) > 0) found[one.value("name", "")] = one.value("pid", 0);
  }
  return found;
}

std::int64_t Site::counter(const std::string& name, const std::string& what) {
  const Json one = component(name);
  return one.is_null() ? 0 : one.at("counters").value(what, std::int64_t{0});
}

std::int64_t Site::restarts(const std::string& name) {
  const Json one = component(name);
  return one.is_null() ? 0 : one.value("restarts", std::int64_t{0});
}

bool Site::ready(const std::string& name) {
  const Json one = component(name);
  return !one.is_null() && one.value("state", "") == "ready" && one.value("live", false);
}

bool Site::all_ready() {
  const Json all = status();
  if (all.is_null() || all.at("components").size() != options_.components) return false;
  return std::all_of(all.at("components").begin(), all.at("components").end(), [](const Json& one) {
    return one.value("state", "") == "ready" && one.value("live", false);
  });
}

void Site::kill(const std::string& name, int signal) {
  const pid_t victim = pid(name);
  ASSERT_GT(victim, 0);
  ASSERT_EQ(::kill(victim, signal), 0);
  EXPECT_TRUE(eventually([&] {
    const Json one = component(name);
    return !one.is_null() && one.value("pid", 0) != victim && one.value("state", "") == "ready";
  })) << name << "\n" << log();
}

void Site::kill_at_work(const std::string& name) {
  const pid_t victim = pid(name);
  ASSERT_GT(victim, 0);
  const std::string held = name == "relay" ? "SELECT count(*) FROM romancy.outbox JOIN romancy.sessions s USING (session_id) WHERE status = 1 AND s.worker = 'relay'"
                                           : "SELECT count(*) FROM romancy.instances JOIN romancy.sessions s USING (session_id) WHERE instance_id LIKE 'p-%' AND s.worker = '" + name + "'";
  EXPECT_TRUE(eventually([&] {
    ::kill(victim, SIGSTOP);
    // Twice: what it had sent already is answered in between.
    if (count(held) > 0 && !ask("SELECT pg_sleep(0.02)::text || '.'").empty() && count(held) > 0) return true;
    ::kill(victim, SIGCONT);
    return false;
  })) << name << " has nothing in hand";
  kill(name);
}

int Site::logged(const std::string& text) const {
  const std::string all = log();
  int times = 0;
  for (auto at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++times;
  return times;
}

// --- the server ---------------------------------------------------------------------------------------------------------

std::unique_ptr<pg::Blocking>& Site::client() {
  if (client_ && !client_->alive()) client_.reset();
  if (!client_) {
    pg::ConnOptions options;
    options.conninfo = now_at_->conninfo();
    options.application_name = "faults";
    options.connect_timeout = 2s;
    if (auto connected = pg::Blocking::connect(options)) client_ = std::make_unique<pg::Blocking>(std::move(*connected));
  }
  return client_;
}

std::string Site::ask(const std::string& sql) {
  if (!client()) return "";
  auto rows = client_->query(sql);
  if (!rows) {
    if (rows.error().kind == ErrorKind::retry) client_.reset();
    else ADD_FAILURE() << sql << ": " << rows.error().text;
    return "";
  }
  return rows->empty() || rows->is_null(0, 0) ? "" : rows->str(0, 0);
}

std::int64_t Site::count(const std::string& sql) {
  const std::string text = ask(sql);
  return text.empty() ? 0 : std::stoll(text);
}

void Site::run_sql(const std::string& sql) {
  std::string error;
  ASSERT_TRUE(eventually([&] {
    if (!client()) return false;
    auto rows = client_->script(sql);
    if (!rows) {
      error = rows.error().text;
      if (rows.error().kind == ErrorKind::retry) client_.reset();
    }
    return rows.has_value();
  })) << sql << ": " << error;
}

std::int64_t Site::now_us() {
  const std::string text = ask("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text");
  if (!text.empty()) return std::stoll(text);
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// --- load ---------------------------------------------------------------------------------------------------------------

void Site::start_load() {
  ASSERT_TRUE(eventually([&] { return ask("SELECT to_regprocedure('romancy.check_invariants()') IS NOT NULL") == "t"; })) << log();
  ASSERT_TRUE(eventually([&] { return all_ready(); })) << log();
  client();
  add_guard(*client_);
  sample();
  for (int i = 0; i < kReaders; ++i) run_sql("SELECT romancy.start_workflow('reader', 'null', 'r-" + std::to_string(i) + "')");
  load_ = true;
  generator_ = std::thread([this] { generate(); });
  expect_progress();
  before_ = sizes();
}

// In order, each tick exactly once: one whose answer was lost is looked up.
void Site::generate() {
  std::unique_ptr<pg::Blocking> conn;
  int next = 0;
  while (load_) {
    if (!conn) {
      pg::ConnOptions options;
      options.conninfo = now_at_->conninfo();
      options.application_name = "faults-load";
      options.connect_timeout = 2s;
      auto connected = pg::Blocking::connect(options);
      if (connected) {
        conn = std::make_unique<pg::Blocking>(std::move(*connected));
        auto known = conn->query("SELECT coalesce(max(n) + 1, 0) FROM load.ticks");
        if (known) next = static_cast<int>(known->int64(0, 0));
        else conn.reset();
      }
    }
    if (conn) {
      if (conn->query("SELECT load.tick($1)", pg::Params(next))) ++next;
      else conn.reset();
    }
    std::this_thread::sleep_for(kTick);  // the rate of the load, not a wait for anything
  }
}

void Site::stop_load() {
  load_ = false;
  if (generator_.joinable()) generator_.join();
  run_sql("SELECT romancy.publish('mail', '-1', '{}', 'r-' || i) FROM generate_series(0, 2) i");
}

std::int64_t Site::probes_done() { return count("SELECT count(*) FROM romancy.instances WHERE status = 2 AND instance_id LIKE 'p-%'"); }

void Site::expect_progress(int probes) {
  std::int64_t before = -1;
  EXPECT_TRUE(eventually([&] {
    if (before < 0) {
      if (client()) before = probes_done();
      return false;
    }
    return probes_done() >= before + probes;
  }, kDrain)) << "nothing goes on\n" << log();
}

std::chrono::milliseconds Site::recovered(std::int64_t since_us, bool events) {
  const std::string since = "to_timestamp(" + std::to_string(since_us) + " / 1000000.0)";
  // What began while the fault lasted counts as well: that is what it had in hand.
  const std::string until = "to_timestamp(" + std::to_string(now_us()) + " / 1000000.0)";
  EXPECT_TRUE(eventually([&] {
    return ask("SELECT count(*) FILTER (WHERE created_at >= " + since + " AND finished_at IS NOT NULL) >= 20 AND "
               "count(*) FILTER (WHERE created_at < " + until + " AND finished_at IS NULL) = 0 "
               "FROM romancy.instances WHERE instance_id ~ '^[ps]-'") == "t";
  }, kDrain)) << "work does not go on\n" << log();
  if (events) {
    EXPECT_TRUE(eventually([&] { return ask("SELECT count(*) = 0 FROM romancy.outbox WHERE status = 1 AND created_at < " + until) == "t"; }, kDrain)) << log();
  }
  const std::int64_t event = !events ? 0 : count(
      "SELECT ceil(max(extract(epoch FROM delivered_at - greatest(created_at, " + since + "))) * 1000)::bigint "
      "FROM romancy.outbox WHERE delivered_at > " + since);
  return std::max(std::chrono::milliseconds(event), std::chrono::milliseconds(count(
      "SELECT ceil(max(extract(epoch FROM finished_at - greatest(created_at, " + since + "))) * 1000)::bigint "
      "FROM romancy.instances WHERE instance_id ~ '^[ps]-' AND finished_at > " + since)));
}

void Site::script_receiver(std::function<std::string(const HttpRequest&)> script) {
  const std::lock_guard lock(script_mutex_);
  script_ = std::move(script);
}

// --- the oracle ---------------------------------------------------------------------------------------------------------

void Site::expect_drained() {
  const bool drained = eventually([&] {
    return ask("SELECT NOT EXISTS (SELECT FROM romancy.instances WHERE status <> 2 AND instance_id !~ '^x-') "
               "AND NOT EXISTS (SELECT FROM romancy.outbox WHERE status <> 2)") == "t";
  }, kDrain);
  if (drained) return;
  auto rows = client() ? client_->query("SELECT instance_id || ': status ' || status || coalesce(', ' || note, '') FROM romancy.instances "
                                        "WHERE status <> 2 AND instance_id !~ '^x-' UNION ALL SELECT event_id || ': event, status ' || status || coalesce(', ' || last_error, '') "
                                        "FROM romancy.outbox WHERE status <> 2 LIMIT 20")
                       : Result<pg::Rows>(try_again("the server is away"));
  ADD_FAILURE() << "not drained:" << (rows ? joined(*rows) : rows.error().text) << "\n" << log();
}

void Site::expect_nothing_lost() {
  run_sql("SET search_path = romancy");
  const auto ticks = count("SELECT count(*) FROM load.ticks");
  const auto walks = count("SELECT count(*) FROM load.ticks WHERE n % 10 = 0");
  EXPECT_GT(ticks, 0);
  EXPECT_EQ(count("SELECT max(n) + 1 FROM load.ticks"), ticks);
  EXPECT_EQ(count("SELECT count(*) FROM instances WHERE instance_id ~ '^[pwr]-'"), ticks + walks + kReaders);
  // Every effect under its key, and its result recorded once.
  const auto effects = 2 * ticks + kSteps * walks + ticks;
  EXPECT_EQ(count("SELECT count(*) FROM load.effects"), effects);
  EXPECT_EQ(count("SELECT count(*) FROM history WHERE kind = 2 AND instance_id ~ '^[pwr]-'"), effects);
  EXPECT_EQ(count("SELECT count(*) FROM (SELECT FROM history WHERE kind = 2 GROUP BY instance_id, op HAVING count(*) > 1) d"), 0);
  // Order per key: the reader itself refuses another; none is missing.
  EXPECT_EQ(count("SELECT sum((output)::text::int) FROM generate_series(0, 2) i, workflow_result('r-' || i)"), ticks);
  if (timers_checked_) {
    // A step's effect comes before its sleep, the next step's after it: never less than the sleep apart.
    EXPECT_EQ(count("SELECT count(*) FROM load.effects a JOIN load.effects b ON b.key = split_part(a.key, '/', 1) || '/' || "
                    "(split_part(a.key, '/', 2)::int + 1) WHERE a.key LIKE 'w-%' AND b.at - a.at < interval '299 ms'"), 0);
    EXPECT_EQ(count("SELECT count(*) FROM load.effects a JOIN load.effects b ON b.key = split_part(a.key, '/', 1) || '/1' "
                    "WHERE a.key LIKE 'p-%/0' AND b.at - a.at < interval '19 ms'"), 0);
  }
  // Each event was delivered, to a receiver that said so; under one id always the same.
  std::map<std::string, std::string> bodies;
  for (const HttpRequest& request : receiver_->requests()) {
    const auto id = request.headers.find("ce-id");
    if (id == request.headers.end()) continue;
    const auto [seen, first] = bodies.emplace(id->second, request.body);
    EXPECT_TRUE(first || seen->second == request.body) << id->second;
  }
  EXPECT_EQ(static_cast<std::int64_t>(bodies.size()), ticks + kSteps * walks);
  {
    const std::lock_guard lock(script_mutex_);
    for (const auto& [id, body] : bodies) EXPECT_TRUE(accepted_.contains(id)) << id << " was sent, and never accepted";
  }
  EXPECT_EQ(count("SELECT count(*) FROM outbox"), ticks + kSteps * walks);

  testing::AssertionResult last = testing::AssertionFailure() << "never asked";
  EXPECT_TRUE(eventually([&] { return client() && (last = check_quiescent(*client_)); })) << last.message();
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'romancy-listener'") == 1; }))
      << count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'romancy-listener'") << " LISTEN backends\n" << log();
  EXPECT_TRUE(eventually([&] { return all_ready(); })) << dump_json(status()) << log();
  if (same_supervisor_) {
    EXPECT_TRUE(supervisor_->running());
    EXPECT_EQ(status()["supervisor"].value("pid", 0), first_supervisor_);
  }
  EXPECT_TRUE(eventually([&] { return ask("SELECT pg_notification_queue_usage() < 0.0001") == "t"; }));
  for (const auto& [name, after] : sizes()) {
    const Size before = before_[name];
    EXPECT_LE(after.descriptors, before.descriptors + 24) << name << ": descriptors";
    EXPECT_LE(after.resident_kb, before.resident_kb + (64 << 10)) << name << ": memory";
  }
}

std::map<std::string, Site::Size> Site::sizes() {
  std::map<std::string, Size> found;
  auto all = pids();
  all["supervisor"] = supervisor_->pid();
  for (const auto& [name, pid] : all) {
    const std::string proc = "/proc/" + std::to_string(pid);
    std::error_code gone;
    Size size;
    for (fs::directory_iterator entry(proc + "/fd", gone), end; !gone && entry != end; entry.increment(gone)) ++size.descriptors;
    std::ifstream statm(proc + "/statm");
    std::int64_t pages = 0;
    statm >> pages >> pages;
    size.resident_kb = pages * (::sysconf(_SC_PAGESIZE) / 1024);
    found[name] = size;
  }
  return found;
}

// --- a row --------------------------------------------------------------------------------------------------------------

namespace {

void write_line(const Json& line) {
  const char* file = std::getenv("ROMANCY_FAULTS_REPORT");
  if (!file) return;
  const UniqueFd fd(::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  const std::string text = dump_json(line) + "\n";
  EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size())) << file;
}

}  // namespace

void report_skipped(const std::string& why) {
  const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::fprintf(stderr, "*** THIS FAULT IS NOT TESTED HERE: %s: %s\n", name.c_str(), why.c_str());
  const auto end = name.find('_');
  write_line({{"row", name.substr(0, end)}, {"fault", name.substr(end + 1)}, {"skipped", why}});
}

void report(const Row& row, const std::string& happened, std::optional<std::chrono::milliseconds> took) {
  const std::string bound = row.bound_text ? row.bound_text : std::to_string(row.bound.count() / 1000) + " s";
  std::fprintf(stderr, "%s: %s: %s; %s (bound: %s)\n", row.id, row.fault, happened.c_str(),
               took ? (std::to_string(took->count()) + " ms").c_str() : "no time", bound.c_str());
  write_line({{"row", row.id}, {"fault", row.fault}, {"happened", happened}, {"bound", bound},
              {"took", took ? std::to_string(took->count()) + " ms" : "-"}, {"failed", testing::Test::HasFailure()}});
}

bool real_length() { return std::getenv("ROMANCY_FAULTS_REAL_LENGTH") != nullptr; }
std::chrono::seconds lasting(std::chrono::seconds shortened, std::chrono::seconds really) { return real_length() ? really : shortened; }

void run(const Row& row) {
  Site site(row.options);
  site.start_supervisor();
  site.start_load();
  if (testing::Test::HasFatalFailure()) return;
  auto since = site.now_us();
  row.inject(site);
  if (row.heal) {
    row.heal(site);
    since = site.now_us();
  }
  const auto took = site.recovered(since, row.events);
  const int slack = std::getenv("ROMANCY_FAULTS_STRICT") ? 1 : 10;
  EXPECT_LE(took, row.bound * slack) << row.id << ": work went on after " << took.count() << " ms";
  site.expect_progress();
  site.stop_load();
  site.expect_drained();
  site.expect_nothing_lost();
  const std::string happened = row.proof(site);
  EXPECT_FALSE(happened.empty()) << row.id << ": the fault did not happen\n" << site.log();
  EXPECT_EQ(site.supervisor().terminate(), 0) << site.log();
  report(row, happened, took);
}

// --- what the environment allows ----------------------------------------------------------------------------------------

std::string why_no_namespaces() {
  return try_shell("unshare -n -m true && ip -V") == 0 ? "" : "no network namespaces (unshare -n -m, ip)";
}
std::string why_no_tmpfs() {
  return try_shell("unshare -m sh -c 'mount -t tmpfs -o size=1m none /mnt'") == 0 ? "" : "no mounting of a tmpfs";
}
namespace {
std::string why_no_cgroup(const std::string& kind) {
  const std::string dir = "/sys/fs/cgroup/" + kind + "/romancy-probe-" + std::to_string(::getpid());
  return try_shell("mkdir " + dir + " && rmdir " + dir) == 0 ? "" : "no writable cgroup v1 of " + kind;
}
}  // namespace
std::string why_no_pids_cgroup() { return why_no_cgroup("pids"); }
std::string why_no_memory_cgroup() { return why_no_cgroup("memory"); }
std::string why_no(const std::string& program) {
  return try_shell("command -v " + program) == 0 ? "" : "no program " + program;
}

}  // namespace romancy::test
