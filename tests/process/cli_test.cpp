// The command `romancy`: every command once against the real thing, and what it says when it may not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "common/pg/blocking.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct Said {
  int exit_code = -1;
  std::string out, err;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

class Cli {
 public:
  // `as`: words before the command, to run it as somebody else.
  explicit Cli(std::vector<std::string> globals, std::string as = "") : as_(std::move(as)), globals_(std::move(globals)) {}

  Said run(const std::vector<std::string>& arguments, const std::string& input = "") {
    const std::string in = dir_.write("in", input), out = dir_.path() + "/out", err = dir_.path() + "/err";
    std::string command = as_ + quoted(program_path("romancy"));
    for (const auto& word : globals_) command += " " + quoted(word);
    for (const auto& word : arguments) command += " " + quoted(word);
    const int status = std::system((command + " <" + in + " >" + out + " 2>" + err).c_str());
    return {WEXITSTATUS(status), read_file(out), read_file(err)};
  }

 private:
  TempDir dir_;
  const std::string as_;
  const std::vector<std::string> globals_;
};

Cli cli_on(const Schema& schema) {
  return Cli({"--database", schema.conninfo(), "--schema", schema.name()});
}

TEST(CliDatabase, MigrateMakesTheSchemaAndIsHarmlessAgain) {
  const Schema schema({}, Schema::Make::absent);
  Cli cli = cli_on(schema);
  const Said before = cli.run({"list"});
  EXPECT_EQ(before.exit_code, 78);
  EXPECT_THAT(before.err, HasSubstr("romancy migrate"));
  EXPECT_EQ(cli.run({"migrate"}).exit_code, 0);
  const Said again = cli.run({"migrate"});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.out, HasSubstr("nothing to migrate"));
  EXPECT_EQ(cli.run({"list"}).exit_code, 0);
}

TEST(CliDatabase, RemoveAndPruneRemoveWhatHasFinished) {
  const Schema schema;
  Cli cli = cli_on(schema);
  pg::Blocking db = schema.connect();
  const auto end = [&](const std::string& id, int status, const std::string& ago) {
    EXPECT_TRUE(db.query("SELECT start_workflow('w', '1', $1)", pg::Params(id)));
    EXPECT_TRUE(db.query("UPDATE instances SET status = $2, finished_at = clock_timestamp() - $3::interval WHERE instance_id = $1",
                         pg::Params(id, status, ago)));
  };
  end("old", 2, "8 days"), end("older", 3, "9 days"), end("oldest", 4, "10 days"), end("young", 2, "6 days");
  EXPECT_EQ(cli.run({"start", "w", "--id", "active"}).exit_code, 0);

  EXPECT_EQ(cli.run({"prune", "--older-than", "7d", "--dry-run"}).out, "3 instances would be removed\n");
  EXPECT_EQ(cli.run({"prune", "--older-than", "7d", "--status", "failed"}).out, "1 instances removed\n");
  EXPECT_EQ(cli.run({"prune", "--older-than", "7d", "--json"}).out, "{\"removed\":2}\n");
  EXPECT_EQ(cli.run({"prune", "--older-than", "week"}).exit_code, 64);
  EXPECT_EQ(cli.run({"prune"}).exit_code, 64);
  EXPECT_EQ(cli.run({"prune", "--older-than", "7d", "--status", "running"}).exit_code, 64);

  const Said active = cli.run({"remove", "active"});
  EXPECT_EQ(active.exit_code, 1);
  EXPECT_THAT(active.err, HasSubstr("'active' has not finished, it is running"));
  EXPECT_EQ(cli.run({"remove", "young"}).out, "young is removed\n");
  const Said gone = cli.run({"remove", "young"});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.err, HasSubstr("there is no instance young"));

  end("again", 2, "1 hour");
  EXPECT_THAT(cli.run({"start", "w", "--id", "again", "--on-finished", "refuse"}).err, HasSubstr("'again' has finished: completed"));
  EXPECT_EQ(cli.run({"start", "w", "--id", "again", "--on-finished", "replace"}).out, "again\n");
  EXPECT_THAT(cli.run({"show", "again"}).out, HasSubstr("running"));
}

TEST(CliDatabase, HistoryExportWritesTheHistoryOfOneInstance) {
  const Schema schema;
  Cli cli = cli_on(schema);
  pg::Blocking db = schema.connect();
  EXPECT_EQ(cli.run({"start", "order", "--id", "a"}).exit_code, 0);
  const json empty = json::parse(cli.run({"history", "export", "a"}).out);
  EXPECT_EQ(empty.at("history"), json::array());
  ASSERT_TRUE(db.query("UPDATE instances SET generation = 7, first_generation = 5 WHERE instance_id = 'a'"));
  ASSERT_TRUE(db.query("INSERT INTO history (instance_id, seq, op, kind, name, data) VALUES ('a', 2, 1, 2, 'charge', '{\"n\": 9007199254740993}'), "
                       "('a', 1, 0, 1, '', NULL), ('a', 10, 2, 5, 'sleep', '{\"after_us\": 1}')"));
  const json exported = json::parse(cli.run({"history", "export", "a"}).out);
  const json rows = exported.at("history");
  EXPECT_EQ(exported.at("format"), "romancy.history");
  EXPECT_EQ(exported.at("version"), 1);
  EXPECT_EQ(exported.at("workflow"), "order");
  EXPECT_EQ(exported.at("status"), "running");
  EXPECT_EQ(exported.at("generation"), 7);
  EXPECT_EQ(exported.at("first_generation"), 5);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0], (json{{"seq", 1}, {"op", 0}, {"kind", "started"}, {"name", ""}, {"data", nullptr}}));
  EXPECT_EQ(rows[1].at("data").at("n"), 9007199254740993);
  EXPECT_EQ(rows[2].at("kind"), "timer_started");
  const Said unknown = cli.run({"history", "export", "b"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("there is no instance b"));
  EXPECT_EQ(cli.run({"history"}).exit_code, 64);
}

TEST(CliDatabase, StartTakesItsInputFromTextFileAndPipe) {
  const Schema schema;
  Cli cli = cli_on(schema);
  const TempDir dir;
  const auto file = dir.write("input.json", R"({"from": "file", "n": 9007199254740993})");
  EXPECT_EQ(cli.run({"start", "order", "--id", "a", "--input", R"({"n": 9007199254740993})"}).out, "a\n");
  EXPECT_EQ(cli.run({"start", "order", "--id", "b", "--input", "@" + file}).out, "b\n");
  EXPECT_EQ(cli.run({"start", "order", "--id", "c", "--input", "-", "--queue", "q"}, R"({"from": "pipe"})").out, "c\n");
  EXPECT_EQ(cli.run({"start", "order", "--id", "a"}).out, "a\n") << "the same instance";
  EXPECT_EQ(json::parse(cli.run({"start", "order", "--id", "d", "--json"}).out), json({{"instance_id", "d"}}));
  EXPECT_EQ(cli.run({"start", "order"}).out.size(), 37u) << "a random id";
  EXPECT_EQ(cli.run({"start", "order", "--id", "e", "--priority", "-2", "--key", "k"}).out, "e\n");
  auto db = schema.connect();
  EXPECT_EQ(db.query("SELECT priority || coalesce(key, '') FROM workflow_instances WHERE instance_id = 'e'")->str(0, 0), "-2k");
  EXPECT_EQ(db.query("SELECT input ->> 'n' FROM workflow_instances WHERE instance_id = 'a'")->str(0, 0),
            "9007199254740993");
  EXPECT_EQ(db.query("SELECT input ->> 'n' FROM workflow_instances WHERE instance_id = 'b'")->str(0, 0),
            "9007199254740993");
  EXPECT_EQ(db.query("SELECT queue FROM workflow_instances WHERE instance_id = 'c'")->str(0, 0), "q");
}

TEST(CliDatabase, StartAtWaitsForItsTime) {
  const Schema schema;
  Cli cli = cli_on(schema);
  EXPECT_EQ(cli.run({"start", "order", "--id", "a", "--at", "2999-01-01T00:00:00Z"}).exit_code, 0);
  const Said shown = cli.run({"show", "a"});
  EXPECT_THAT(shown.out, HasSubstr("starts at 2999-01-01"));
  EXPECT_THAT(shown.out, HasSubstr("no living worker serves default/order"));
  const Said wrong = cli.run({"start", "order", "--at", "teatime"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("--at: "));
}

TEST(CliDatabase, QueuesAreLimitedPausedAndListed) {
  const Schema schema;
  Cli cli = cli_on(schema);
  cli.run({"start", "order", "--id", "a", "--queue", "gpu"});
  EXPECT_EQ(cli.run({"queue", "set", "gpu", "--concurrency", "4", "--key-concurrency", "2", "--rate", "9"}).out, "gpu is set\n");
  EXPECT_EQ(cli.run({"queue", "pause", "gpu"}).out, "gpu is paused\n");
  const Said again = cli.run({"queue", "pause", "gpu"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("NAME: gpu was paused already"));
  const json queues = json::parse(cli.run({"queue", "list", "--json"}).out);
  ASSERT_EQ(queues.size(), 1u);
  EXPECT_EQ(queues[0], json({{"queue", "gpu"}, {"paused", true}, {"concurrency", 4}, {"key_concurrency", 2}, {"rate", 9}, {"rate_period", "00:00:01"}, {"waiting", 1}, {"running", 0}}));
  EXPECT_THAT(cli.run({"queue", "list"}).out, AllOf(HasSubstr("gpu"), HasSubstr("paused")));
  EXPECT_EQ(cli.run({"queue", "resume", "gpu"}).out, "gpu is served again\n");
  EXPECT_EQ(cli.run({"queue", "remove", "gpu"}).out, "gpu is served without limits\n");
  EXPECT_EQ(cli.run({"queue", "remove", "gpu"}).exit_code, 1);
  const Said wrong = cli.run({"queue", "set", "gpu", "--concurrency", "0"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("concurrency: 0 is not in 1 .. 1000000"));
}

TEST(CliDatabase, SchedulesAreMadeListedChangedAndRemoved) {
  const Schema schema;
  Cli cli = cli_on(schema);
  const std::vector<std::string> create{"schedule", "create", "nightly", "report", "--cron", "0 3 * * mon-fri", "--time-zone",
                                        "Europe/Berlin", "--input", R"({"n": 9007199254740993})", "--overlap", "queue_one"};
  EXPECT_EQ(cli.run(create).out, "nightly created\n");
  EXPECT_EQ(cli.run(create).out, "nightly unchanged\n");
  EXPECT_EQ(cli.run({"schedule", "create", "pulse", "check", "--every", "30 seconds", "--jitter", "5 s"}).out, "pulse created\n");
  EXPECT_THAT(cli.run({"schedule", "list"}).out,
              AllOf(HasSubstr("0 3 * * mon-fri"), HasSubstr("every 00:00:30"), HasSubstr("not computed yet")));
  EXPECT_EQ(cli.run({"schedule", "pause", "pulse"}).exit_code, 0);
  const Said again = cli.run({"schedule", "pause", "pulse"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("NAME: pulse was paused already"));
  EXPECT_EQ(cli.run({"schedule", "remove", "pulse"}).exit_code, 0);
  EXPECT_EQ(cli.run({"schedule", "remove", "pulse"}).exit_code, 1);
  EXPECT_EQ(cli.run({"schedule", "resume", "nightly"}).exit_code, 1);
  EXPECT_THAT(cli.run({"schedule", "trigger", "nightly"}).out, StartsWith("nightly@20"));
  const Said listed = cli.run({"schedule", "list", "--json"});
  EXPECT_THAT(listed.out, HasSubstr(R"("input":{"n": 9007199254740993})"));
  const json schedules = json::parse(listed.out);
  ASSERT_EQ(schedules.size(), 1u);
  EXPECT_EQ(schedules[0]["name"], "nightly");
  EXPECT_EQ(schedules[0]["paused"], false);
  EXPECT_EQ(schedules[0]["next_tick"], nullptr);
  const Said wrong = cli.run({"schedule", "create", "x", "w", "--cron", "0 24 * * *"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("cron: hour '24': must be from 0 to 23"));
}

TEST(Cli, TheNextTicksNeedNoDatabase) {
  Cli cli({});
  EXPECT_EQ(cli.run({"schedule", "next", "30 2 * * *", "--time-zone", "Europe/Berlin", "--from", "2026-03-28T00:00:00Z", "--count", "2"}).out,
            "2026-03-28T01:30:00Z  2026-03-28 02:30:00 CET\n2026-03-29T01:00:00Z  2026-03-29 03:00:00 CEST\n");
  EXPECT_EQ(cli.run({"schedule", "next", "@daily"}).exit_code, 0);
  EXPECT_EQ(cli.run({"schedule", "next", "@daily", "--from", "teatime"}).exit_code, 64);
  EXPECT_EQ(cli.run({"schedule", "next", "@daily", "--time-zone", "Mars/Olympus"}).exit_code, 1);
  EXPECT_EQ(cli.run({"schedule"}).exit_code, 64);
}

TEST(CliDatabase, PublishReachesItsInstance) {
  const Schema schema;
  Cli cli = cli_on(schema);
  cli.run({"start", "order", "--id", "a"});
  const Said published =
      cli.run({"publish", "paid", "--to", "a", "--data", R"({"cents": 5})", "--metadata", R"({"by": "test"})"});
  EXPECT_EQ(published.exit_code, 0) << published.err;
  EXPECT_GT(std::stol(published.out), 0);
  EXPECT_TRUE(json::parse(cli.run({"publish", "paid", "--to", "a", "--json"}).out).contains("message_id"));
  auto db = schema.connect();
  EXPECT_EQ(db.query("SELECT data::text || metadata::text FROM inbox WHERE kind = 2 ORDER BY id LIMIT 1")->str(0, 0),
            R"({"cents": 5}{"by": "test"})");
  const Said unknown = cli.run({"publish", "paid", "--to", "nobody"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("target_instance_id: "));
  schema.run("UPDATE instances SET status = 2, finished_at = clock_timestamp()");
  const Said finished = cli.run({"publish", "paid", "--to", "a"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.err, HasSubstr("--to: a has finished"));
}

TEST(CliDatabase, CancelAndResumeSayWhetherTheyDid) {
  const Schema schema;
  Cli cli = cli_on(schema);
  cli.run({"start", "order", "--id", "a"});
  EXPECT_EQ(cli.run({"cancel", "a", "--reason", "it's late"}).exit_code, 0);
  auto db = schema.connect();
  EXPECT_EQ(db.query("SELECT data ->> 'reason' FROM inbox WHERE kind = 6")->str(0, 0), "it's late");
  EXPECT_EQ(cli.run({"resume", "a"}).exit_code, 1) << "it was not stuck";
  schema.run(
      "UPDATE instances SET status = 5, note = 'mismatch: at op 3'; INSERT INTO stuck SELECT instance_id, route_id "
      "FROM instances");
  EXPECT_THAT(cli.run({"show", "a"}).out, HasSubstr("is parked: mismatch: at op 3; 'romancy resume a' lets it go on"));
  EXPECT_EQ(cli.run({"resume", "a"}).exit_code, 0);
  schema.run("UPDATE instances SET status = 4, finished_at = clock_timestamp()");
  const Said cancelled = cli.run({"cancel", "a"});
  EXPECT_EQ(cancelled.exit_code, 1);
  EXPECT_THAT(cancelled.err, HasSubstr("is cancelled already"));
  schema.run("UPDATE instances SET status = 3");
  const Said finished = cli.run({"cancel", "a"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.err, HasSubstr("instance_id: 'a' has finished: failed"));
  EXPECT_EQ(cli.run({"cancel", "unknown"}).exit_code, 1);
}

TEST(CliDatabase, ListFiltersAndShowTellsAll) {
  const Schema schema;
  Cli cli = cli_on(schema);
  for (const char* id : {"a", "b", "c"})
    cli.run({"start", "order", "--id", id, "--input", R"({"n": 9007199254740993})"});
  cli.run({"start", "other", "--id", "d"});
  schema.run(
      "UPDATE instances SET status = 2, finished_at = clock_timestamp() WHERE instance_id = 'a'; "
      "DELETE FROM inbox WHERE instance_id = 'a'; "
      "INSERT INTO history (instance_id, seq, op, kind, data) VALUES "
      "('a', 1, 0, 1, '{\"n\": 9007199254740993}'), ('a', 2, 0, 16, '{\"out\": 9007199254740993}')");
  EXPECT_EQ(json::parse(cli.run({"list", "--json"}).out).size(), 4u);
  std::string pages, last;
  for (json page; pages.empty() || !page.empty();) {
    page = json::parse(last.empty() ? cli.run({"list", "--json", "--limit", "3"}).out
                                    : cli.run({"list", "--json", "--limit", "3", "--before", last}).out);
    for (const auto& instance : page) pages += last = instance["instance_id"].get<std::string>();
    pages += '.';
  }
  EXPECT_EQ(pages, "dcb.a..");
  EXPECT_EQ(cli.run({"list", "--before", "nobody"}).exit_code, 1);
  EXPECT_EQ(json::parse(cli.run({"statistics", "--json"}).out),
            json::parse(R"({"workflows": [
              {"queue": "default", "workflow_name": "order", "active": 2, "held": 0, "ready": 2, "waiting": 0, "stuck": 0, "completed": 1, "failed": 0, "cancelled": 0},
              {"queue": "default", "workflow_name": "other", "active": 1, "held": 0, "ready": 1, "waiting": 0, "stuck": 0, "completed": 0, "failed": 0, "cancelled": 0}],
              "activities": []})"));
  EXPECT_THAT(cli.run({"statistics"}).out, HasSubstr("WORKFLOW_NAME"));
  EXPECT_EQ(json::parse(cli.run({"list", "--json", "--name", "order"}).out).size(), 3u);
  EXPECT_EQ(json::parse(cli.run({"list", "--json", "--status", "completed"}).out).at(0).at("instance_id"), "a");
  EXPECT_EQ(json::parse(cli.run({"list", "--json", "--limit", "2"}).out).size(), 2u);
  EXPECT_THAT(cli.run({"list"}).out, StartsWith("INSTANCE  WORKFLOW"));

  const json shown = json::parse(cli.run({"show", "a", "--json"}).out);
  EXPECT_EQ(shown.at("status"), "completed");
  EXPECT_EQ(shown.at("output").at("out"), 9007199254740993);
  EXPECT_EQ(shown.at("history").size(), 2u);
  EXPECT_EQ(shown.at("served"), false);
  EXPECT_THAT(cli.run({"show", "b"}).out, HasSubstr("is ready, but no living worker serves default/order"));
  const Said unknown = cli.run({"show", "nobody"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("nobody"));
}

TEST(CliDatabase, VersionsAreListedDrainedResumedAndSet) {
  const Schema schema;
  Cli cli = cli_on(schema);
  for (const char* id : {"a", "b"}) cli.run({"start", "order", "--id", id});
  EXPECT_EQ(cli.run({"versions", "--json"}).out, "[]\n");
  EXPECT_EQ(cli.run({"set-version", "a", "v1"}).out, "a is pinned to v1\n");
  const Said again = cli.run({"set-version", "a", "v1"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("ID: a is pinned to v1 already"));
  EXPECT_THAT(cli.run({"set-version", "nobody", "v1"}).err, HasSubstr("instance_id: there is no instance 'nobody'"));
  EXPECT_EQ(cli.run({"drain-version", "v2"}).out, "v2 drains\n");
  EXPECT_THAT(cli.run({"drain-version", "v2"}).err, HasSubstr("VERSION: v2 drains already"));

  const json versions = json::parse(cli.run({"versions", "--json"}).out);
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[0], json::parse(R"({"version": "v1", "workers": 0, "instances": 1, "draining_since": null})"));
  EXPECT_TRUE(versions[1].at("draining_since").is_string());
  EXPECT_THAT(cli.run({"versions"}).out, StartsWith("VERSION  WORKERS  INSTANCES  DRAINING SINCE\nv1       0        1          -\nv2       0        0          2"));

  const json listed = json::parse(cli.run({"list", "--json", "--version", "v1"}).out);
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].at("instance_id"), "a");
  EXPECT_EQ(listed[0].at("version"), "v1");
  EXPECT_EQ(json::parse(cli.run({"list", "--json"}).out).size(), 2u);
  EXPECT_THAT(cli.run({"show", "a"}).out, HasSubstr("no: no living worker serves this workflow at version v1"));
  EXPECT_THAT(cli.run({"show", "a"}).out, HasSubstr("is ready, but no living worker serves default/order at version v1"));
  EXPECT_EQ(json::parse(cli.run({"show", "a", "--json"}).out).at("version"), "v1");
  EXPECT_TRUE(json::parse(cli.run({"show", "b", "--json"}).out).at("version").is_null());

  const auto serve = [&](int session, const std::string& version) {
    schema.run("INSERT INTO sessions (session_id, worker, kind, routes, version, expires_at) SELECT " + std::to_string(session) +
               ", 'w', 'resumer', ARRAY[route_id('default', 'order')], '" + version + "', now() + interval '1 hour'");
  };
  serve(1, "v2");
  EXPECT_THAT(cli.run({"show", "b"}).out, HasSubstr("but no living worker serves default/order but those of versions that drain"));
  EXPECT_EQ(json::parse(cli.run({"show", "a", "--json"}).out).at("served"), false) << "v2 is not v1";
  EXPECT_EQ(cli.run({"resume-version", "v2"}).out, "v2 goes on\n");
  EXPECT_THAT(cli.run({"resume-version", "v2"}).err, HasSubstr("VERSION: v2 did not drain"));
  EXPECT_EQ(json::parse(cli.run({"show", "b", "--json"}).out).at("served"), true);
  serve(2, "v1");
  EXPECT_EQ(json::parse(cli.run({"show", "a", "--json"}).out).at("served"), true);
}

TEST(CliDatabase, ShowPrintsTheStatusValue) {
  const Schema schema;
  Cli cli = cli_on(schema);
  cli.run({"start", "order", "--id", "a"});
  EXPECT_THAT(cli.run({"show", "a"}).out, Not(HasSubstr("progress")));
  EXPECT_TRUE(json::parse(cli.run({"show", "a", "--json"}).out).at("progress").is_null());
  schema.run("INSERT INTO progress (instance_id, value) VALUES ('a', '{\"n\": 9007199254740993}')");
  EXPECT_THAT(cli.run({"show", "a"}).out, HasSubstr(R"(progress  {"n": 9007199254740993})"));
  EXPECT_EQ(json::parse(cli.run({"show", "a", "--json"}).out).at("progress").at("n"), 9007199254740993);
}

// Ends the instance `id`, as a worker does, when somebody waits for it.
void end_when_awaited(const Schema& schema, const std::string& id, int status, const std::string& data) {
  auto db = schema.connect();
  EXPECT_TRUE(eventually([&] { return db.query("SELECT count(*) FROM result_waits WHERE instance_id = $1", pg::Params(id))->int64(0, 0) == 1; }));
  schema.run("BEGIN; UPDATE instances SET status = " + std::to_string(status) + ", finished_at = clock_timestamp() WHERE instance_id = '" + id +
             "'; INSERT INTO history (instance_id, seq, op, kind, data) VALUES ('" + id + "', 2, 0, " + std::to_string(14 + status) + ", '" + data +
             "'); DELETE FROM result_waits WHERE instance_id = '" + id + "'; SELECT hint('workflow_finished', jsonb_build_object('instance_id', '" + id +
             "')); COMMIT");
}

TEST(CliDatabase, StartAndResultWaitForTheEnd) {
  const Schema schema;
  Cli cli = cli_on(schema), other = cli_on(schema);
  auto waits = std::async(std::launch::async, [&] { return other.run({"start", "order", "--id", "a", "--wait"}); });
  end_when_awaited(schema, "a", 2, "{\"n\": 9007199254740993}");
  const Said started = waits.get();
  EXPECT_EQ(started.exit_code, 0) << started.err;
  EXPECT_EQ(started.out, "{\"n\": 9007199254740993}\n");
  EXPECT_EQ(cli.run({"result", "a"}).out, started.out);
  EXPECT_EQ(cli.run({"result", "a", "--wait"}).out, started.out);

  cli.run({"start", "order", "--id", "b"});
  EXPECT_THAT(cli.run({"result", "b"}).err, HasSubstr("ID: b has not finished: running"));
  const Said late = cli.run({"result", "b", "--wait", "--timeout", "0.01"});
  EXPECT_EQ(late.exit_code, 124);
  EXPECT_THAT(late.err, HasSubstr("b has not ended in time"));
  waits = std::async(std::launch::async, [&] { return other.run({"result", "b", "--wait", "--json"}); });
  end_when_awaited(schema, "b", 3, R"({"type": "E", "message": "no"})");
  const Said failed = waits.get();
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_EQ(json::parse(failed.out), json::parse(R"({"instance_id": "b", "status": "failed", "output": null, "error": {"type": "E", "message": "no"}})"));
  EXPECT_THAT(failed.err, HasSubstr("b failed: {"));
  EXPECT_EQ(cli.run({"result", "b"}).exit_code, 2);
  EXPECT_EQ(cli.run({"result", "b"}).out, "");
  for (const bool wait : {false, true}) {
    const Said unknown = wait ? cli.run({"result", "nobody", "--wait"}) : cli.run({"result", "nobody"});
    EXPECT_EQ(unknown.exit_code, 1);
    EXPECT_THAT(unknown.err, HasSubstr("there is no instance 'nobody'"));
  }
}

TEST(CliDatabase, ShowNamesTheGenerationAndPrintsTheArchive) {
  const Schema schema;
  Cli cli = cli_on(schema);
  cli.run({"start", "order", "--id", "a"});
  EXPECT_THAT(cli.run({"show", "a"}).out, Not(HasSubstr("generation")));
  schema.run("UPDATE instances SET generation = 2; INSERT INTO history_archive (instance_id, generation, seq, op, kind, "
             "data, created_at) VALUES ('a', 0, 1, 0, 1, '{\"first\": 1}', now()), ('a', 1, 1, 0, 19, '7', now())");
  EXPECT_THAT(cli.run({"show", "a"}).out, AllOf(HasSubstr("generation"), Not(HasSubstr("recurred"))));
  EXPECT_THAT(cli.run({"show", "a", "--archive"}).out, AllOf(HasSubstr("GENERATION"), HasSubstr("recurred")));
  const json shown = json::parse(cli.run({"show", "a", "--archive", "--json"}).out);
  EXPECT_EQ(shown.at("generation"), 2);
  ASSERT_EQ(shown.at("archive").size(), 2u);
  EXPECT_EQ(shown.at("archive").at(0).at("data"), json({{"first", 1}}));
  EXPECT_EQ(shown.at("archive").at(1).at("generation"), 1);
  EXPECT_FALSE(json::parse(cli.run({"show", "a", "--json"}).out).contains("archive"));
}

TEST(CliDatabase, ChannelsShowWhoWaitsAndWhatIsQueued) {
  const Schema schema;
  Cli cli = cli_on(schema);
  EXPECT_EQ(cli.run({"channels", "--json"}).out, "[]\n");
  schema.run("SELECT declare_channel('jobs', 'competing'), publish('jobs', '1'); "
             "INSERT INTO subscriptions VALUES ('news', 'a'), ('news', 'b')");
  EXPECT_EQ(json::parse(cli.run({"channels", "--json"}).out),
            json::parse(R"([
              {"channel": "jobs", "mode": "competing", "subscribers": 0, "waiting": 0, "queued": 1},
              {"channel": "news", "mode": "broadcast", "subscribers": 2, "waiting": 0, "queued": 0}])"));
  EXPECT_THAT(cli.run({"channels"}).out, StartsWith("CHANNEL"));
}

TEST(CliDatabase, CompensateTakesADecisionOnlyWhereOneIsAwaited) {
  const Schema schema;
  Cli cli = cli_on(schema);
  cli.run({"start", "order", "--id", "a"});
  const Said running = cli.run({"compensate", "a"});
  EXPECT_EQ(running.exit_code, 1);
  EXPECT_THAT(running.err, HasSubstr("instance_id: 'a' has no failed compensations, it is running"));
  schema.run("UPDATE instances SET status = 6, note = 'compensation failed: refund'");
  EXPECT_THAT(cli.run({"show", "a"}).out, HasSubstr("'romancy compensate a' tries again"));
  EXPECT_EQ(cli.run({"compensate", "a"}).exit_code, 0);
  EXPECT_EQ(cli.run({"compensate", "a", "--give-up"}).exit_code, 0);
  auto db = schema.connect();
  EXPECT_EQ(db.query("SELECT string_agg(data::text, ' ' ORDER BY id) FROM inbox WHERE kind = 10")->str(0, 0),
            R"({"retry": true} {"retry": false})");
  EXPECT_EQ(cli.run({"compensate", "nobody"}).exit_code, 1);
}

TEST(CliErrors, NameTheArgument) {
  Cli cli({});
  for (const auto& [arguments, named] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"frobnicate"}, "frobnicate"},
           {{"start"}, "NAME"},
           {{"start", "order", "--input", "{"}, "--input"},
           {{"start", "order", "--input", "@/does/not/exist"}, "--input: /does/not/exist"},
           {{"publish", "c", "--data", "x"}, "--data"},
           {{"publish", "c", "--metadata", "x"}, "--metadata"},
           {{"list", "--status", "odd"}, "--status"},
           {{"list", "--limit", "0"}, "--limit"},
           {{"list", "--wrong"}, "--wrong"},
           {{}, "subcommand"}}) {
    const Said said = cli.run(arguments);
    EXPECT_EQ(said.exit_code, 64) << named;
    EXPECT_THAT(said.err, HasSubstr(named));
    EXPECT_EQ(said.out, "") << named;
  }
}

TEST(CliErrors, ADatabaseThatIsAwayIs75) {
  const TempDir dir;
  const Said said = Cli({"--database", "host=" + dir.path() + " user=x dbname=x"}).run({"list"});
  EXPECT_EQ(said.exit_code, 75);
  EXPECT_THAT(said.err, StartsWith("romancy list: database: "));
}

TEST(CliErrors, AWrongConfigurationIs78) {
  const TempDir dir;
  EXPECT_EQ(Cli({"--config", dir.path() + "/none"}).run({"list"}).exit_code, 78);
  const auto bad = dir.write("bad.toml", "[poll]\ntimer_interval = \"soon\"\n");
  EXPECT_EQ(Cli({"--config", bad}).run({"list"}).exit_code, 78);
  // A supervisor is not guessed: another one would be stopped.
  for (const std::string& lost : {dir.path() + "/none", dir.write("lost.toml", "[runtime]\ndir = \"here\"\n")}) {
    const Said said = Cli({"--config", lost}).run({"stop"});
    EXPECT_EQ(said.exit_code, 78);
    EXPECT_THAT(said.err, HasSubstr(lost));
    EXPECT_THAT(said.err, HasSubstr("--runtime-dir"));
  }
  const Said schema = Cli({"--schema", "No Schema"}).run({"list"});
  EXPECT_EQ(schema.exit_code, 78);
  EXPECT_THAT(schema.err, HasSubstr("--schema"));
}

TEST(CliErrors, HelpAndVersionAreNoErrors) {
  Cli cli({});
  EXPECT_EQ(cli.run({"--help"}).exit_code, 0);
  EXPECT_EQ(cli.run({"start", "--help"}).exit_code, 0);
  EXPECT_THAT(cli.run({"--version"}).out, StartsWith("romancy "));
}

TEST(CliControl, WithoutASupervisorItIs69) {
  const TempDir dir;
  Cli cli({"--config", dir.write("romancy.toml", "[runtime]\ndir = \"" + dir.path() + "\"\n")});
  for (const auto& command : std::vector<std::vector<std::string>>{
           {"status"}, {"restart", "timer"}, {"stop"}, {"start-component", "timer"}}) {
    const Said said = cli.run(command);
    EXPECT_EQ(said.exit_code, 69);
    EXPECT_THAT(said.err, HasSubstr("no supervisor answers"));
  }
}

TEST(CliControl, StatusRestartStopAndStart) {
  const TempDir dir;
  const Schema schema;
  const auto config =
      dir.write("romancy.toml", "[database]\nurl = \"" + schema.conninfo() + "\"\nschema = \"" + schema.name() +
                                    "\"\n[runtime]\ndir = \"" + dir.path() + "\"\n[relay]\nenabled = true\n");
  Daemon supervisor("romancy-supervisor", {"--config", config}, dir.path() + "/supervisor.log");
  Cli cli({"--config", config});
  const auto component = [&](const std::string& name) {
    const Said said = cli.run({"status", "--json"});
    if (said.exit_code != 0) return json::object();
    const json reply = json::parse(said.out);
    for (const auto& one : reply.at("components")) {
      if (one.at("name") == name) return one;
    }
    return json::object();
  };
  const auto state = [&](const std::string& name) { return component(name).value("state", ""); };
  ASSERT_TRUE(eventually([&] {
    return state("timer") == "ready" && state("relay") == "ready" && state("listener") == "ready";
  })) << supervisor.log()
      << cli.run({"status"}).err;
  const json timer = component("timer");
  EXPECT_TRUE(timer.at("counters").is_object());
  EXPECT_TRUE(eventually([&] { return component("timer").at("live") == true; })) << supervisor.log();
  const Said shown = cli.run({"status"});
  EXPECT_THAT(shown.out, HasSubstr("COMPONENT"));
  EXPECT_THAT(shown.out, HasSubstr("timer"));
  EXPECT_EQ(shown.err, "");

  EXPECT_EQ(cli.run({"restart", "timer"}).exit_code, 0);
  EXPECT_TRUE(eventually([&] { return state("timer") == "ready" && component("timer").at("pid") != timer.at("pid"); }));
  const Said unknown = cli.run({"restart", "nobody"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("component: must be one of"));

  EXPECT_EQ(cli.run({"stop", "relay"}).exit_code, 0);
  EXPECT_TRUE(eventually([&] { return component("relay").value("pid", 1) == 0; })) << cli.run({"status"}).out;
  EXPECT_EQ(cli.run({"start-component", "relay"}).exit_code, 0);
  EXPECT_TRUE(eventually([&] { return state("relay") == "ready"; })) << cli.run({"status"}).out;

  EXPECT_EQ(cli.run({"stop"}).exit_code, 0);
  EXPECT_EQ(WEXITSTATUS(supervisor.wait()), 0) << supervisor.log();
}

// The supervisor runs on with what it accepted last, whatever the file says by now.
TEST(CliControl, ABadFileDoesNotKeepAnybodyFromTheSupervisor) {
  const TempDir dir;
  const std::string head = "[runtime]\ndir = \"" + dir.path() + "\"\n[database]\nurl = \"host=/nonexistent\"\n";
  const auto config = dir.write("romancy.toml", head);
  Daemon supervisor("romancy-supervisor", {"--config", config}, dir.path() + "/supervisor.log");
  Cli cli({"--config", config});
  ASSERT_TRUE(eventually([&] { return cli.run({"status"}).exit_code == 0; })) << supervisor.log();
  const auto pid_of_timer = [&] {
    const json reply = json::parse(cli.run({"status", "--json"}).out, nullptr, false);
    for (const auto& one : reply.value("components", json::array())) {
      if (one.at("name") == "timer") return one.value("pid", 0);
    }
    return 0;
  };
  // A wrong value; a key that is none; text that is no TOML, before and after what says where the supervisor is.
  for (const auto& [text, named] : std::vector<std::pair<std::string, std::string>>{
           {head + "[poll]\ntimer_interval = \"soon\"\n", ":6: poll.timer_interval = \"soon\""},
           {"[nonsense]\nkey = 1\n" + head, ":1: nonsense"},
           {"[poll\n" + head, ":1: "},
           {head + "[poll]\ntimer_interval = \n", ":6: "}}) {
    dir.write("romancy.toml", text);
    for (const auto& command : std::vector<std::vector<std::string>>{
             {"status"}, {"status", "--json"}, {"log-level", "timer", "debug"}, {"restart", "timer"},
             {"drain", "relay"}, {"start-component", "relay"}, {"stop", "relay"}, {"start-component", "relay"}}) {
      const Said said = cli.run(command);
      EXPECT_EQ(said.exit_code, 0) << command[0] << ": " << said.err;
      EXPECT_THAT(said.err, StartsWith("romancy " + command[0] + ": warning: the configuration is wrong: " + config + named));
    }
    const int timer = pid_of_timer();
    const Said reload = cli.run({"reload"});
    EXPECT_EQ(reload.exit_code, 1) << "refused, by the supervisor";
    EXPECT_THAT(reload.err, StartsWith("romancy reload: " + config + named));
    EXPECT_EQ(std::count(reload.err.begin(), reload.err.end(), '\n'), 1) << reload.err << "said once";
    EXPECT_EQ(pid_of_timer(), timer);
  }
  // Without the file: the option, or the variable.
  std::filesystem::remove(config);
  EXPECT_EQ(cli.run({"status"}).exit_code, 78);
  const Said told = Cli({"--config", config, "--runtime-dir", dir.path()}).run({"status"});
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_EQ(told.err, "");
  EXPECT_EQ(Cli({}, "ROMANCY_RUNTIME_DIR=" + quoted(dir.path()) + " ").run({"stop"}).exit_code, 0);
  EXPECT_EQ(WEXITSTATUS(supervisor.wait()), 0) << supervisor.log();
}

TEST(CliControl, DrainLogLevelReloadAndUpgradeByThePersonWhoMayAndByNobodyElse) {
  const TempDir dir;
  const std::string head = "[runtime]\ndir = \"" + dir.path() + "\"\n[relay]\nenabled = true\n[database]\nurl = \"host=/nonexistent\"\n";
  const auto config = dir.write("romancy.toml", head);
  Daemon supervisor("romancy-supervisor", {"--config", config}, dir.path() + "/supervisor.log");
  Cli cli({"--config", config});
  const auto component = [&](const std::string& name) {
    const json reply = json::parse(cli.run({"status", "--json"}).out, nullptr, false);
    for (const auto& one : reply.value("components", json::array())) {
      if (one.at("name") == name) return one;
    }
    return json::object();
  };
  ASSERT_TRUE(eventually([&] { return component("timer").value("pid", 0) != 0; })) << supervisor.log();

  const Said leveled = cli.run({"log-level", "timer", "debug"});
  EXPECT_EQ(leveled.out, "timer logs at level debug\n") << leveled.err;
  EXPECT_TRUE(eventually([&] { return supervisor.logged("timer: log level changed level=debug"); }));
  EXPECT_EQ(cli.run({"log-level", "timer", "loud"}).exit_code, 64);

  EXPECT_EQ(cli.run({"drain", "relay"}).exit_code, 0);
  EXPECT_TRUE(eventually([&] { return component("relay").value("state", "") == "stopped"; })) << cli.run({"status"}).out;

  EXPECT_EQ(cli.run({"reload"}).out, "no value has changed\n");
  dir.write("romancy.toml", head + "[poll]\ntimer_interval = \"3s\"\n");
  const Said reloaded = cli.run({"reload"});
  EXPECT_THAT(reloaded.out, HasSubstr("changed    poll.timer_interval\nrestarted  timer\n")) << reloaded.err;
  dir.write("romancy.toml", head + "[poll]\ntimer_interval = \"soon\"\n");
  const Said bad = cli.run({"reload"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, StartsWith("romancy reload: " + config + ":8: poll.timer_interval = \"soon\": must be"));
  dir.write("romancy.toml", head);

  if (::geteuid() == 0) {
    Cli nobody({"--config", config}, "setpriv --reuid=65534 --regid=65534 --clear-groups -- ");
    if (nobody.run({"--version"}).exit_code == 0) {  // else: the build is where only root may look
      for (const char* command : {"status", "reload", "upgrade", "stop"}) {
        const Said refused = nobody.run({command});
        EXPECT_NE(refused.exit_code, 0) << command;
        EXPECT_THAT(refused.err, HasSubstr("Permission denied")) << command;
      }
    }
  }

  EXPECT_EQ(cli.run({"upgrade"}).exit_code, 0);
  EXPECT_TRUE(eventually([&] { return supervisor.logged("took over"); })) << supervisor.log();
  EXPECT_TRUE(eventually([&] { return component("timer").value("pid", 0) != 0; })) << supervisor.log();
  EXPECT_EQ(supervisor.terminate(), 0) << supervisor.log();
}

}  // namespace
}  // namespace romancy::test
