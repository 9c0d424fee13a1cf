// Scenario: one thing a user does and relies on. It is a client: it starts, publishes, cancels and reads with SQL in the
// role <schema>_client, or with the command `romancy`; what the workflows do, the scenario worker does (worker/).
//
// Instance ids begin with the name of the test and its process, so that scenarios share an installation and may be
// repeated on it. At the end each of a scenario's instances must have come to rest, with nothing left over.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/pg/blocking.hpp"
#include "tests/scenarios/mode.hpp"

namespace romancy::test {

using Json = nlohmann::json;

struct Said {
  int exit_code = -1;
  std::string out;  // and what it said to standard error
};

// What a scenario may do, on whatever installation it was attached to.
class Client {
 public:
  void attach(const std::string& conninfo, const std::string& schema, const std::string& config);
  [[nodiscard]] bool attached() const { return conn_ != nullptr; }
  // The same client on a connection of its own, for transactions side by side.
  [[nodiscard]] std::unique_ptr<Client> another() const;

  // This test's name for `name`, different in every process: for instance ids and channels.
  [[nodiscard]] std::string mine(const std::string& name) const { return prefix_ + name; }

  pg::Rows sql(const std::string& text, const pg::Params& params = {});  // fails the test on an error
  std::string one(const std::string& text, const pg::Params& params = {});  // the only value; empty: none or NULL
  std::int64_t count(const std::string& text, const pg::Params& params = {});
  std::string refused(const std::string& text, const pg::Params& params = {});  // "22023 message"; fails if accepted
  Said romancy(std::vector<std::string> arguments);
  // What `romancy history export` writes of these instances, told to the scenario worker's code: to that of today, or to
  // what SCENARIO_CODE names. Said.out: what does not fit.
  Said replay(const std::vector<std::string>& ids, const std::string& code = {});

  // Returns the instance id.
  std::string start(const std::string& workflow, const Json& input = nullptr, const std::string& name = "a");
  std::int64_t publish(const std::string& id, const std::string& channel, const Json& data);  // to this instance
  std::int64_t broadcast(const std::string& channel, const Json& data);
  bool cancel(const std::string& id, const std::string& reason = "changed my mind");
  void open_gate(const std::string& name) { sql("INSERT INTO gates VALUES ($1)", pg::Params(name)); }
  // Waits until no transaction is at this gate any more: it committed, or it was rolled back.
  void expect_outside(const std::string& gate);

  [[nodiscard]] std::string status(const std::string& id);
  void expect_status(const std::string& id, const std::string& wanted);  // waits for it
  void expect_completed(const std::string& id, const Json& output);
  void expect_completed(const std::string& id) { expect_status(id, "completed"); }
  Json output(const std::string& id);
  Json expect_failed(const std::string& id);     // {"type", "message", ..}
  Json expect_cancelled(const std::string& id);  // {"reason", ..}
  std::string note(const std::string& id);

  // Waits until it is suspended: it has read all there is, and nobody holds it.
  void expect_at_rest(const std::string& id);
  // Waits until it is suspended with a timer of this kind: sleep, timeout, retry, start_at.
  void expect_timer(const std::string& id, const std::string& kind);
  std::int64_t timers(const std::string& id) { return count("SELECT count(*) FROM timers WHERE instance_id = $1", pg::Params(id)); }

  // What its activities did, in order: "charge", "charge", "ship".
  std::vector<std::string> effects(const std::string& id);
  std::int64_t times(const std::string& id, const std::string& what);
  void expect_times(const std::string& id, const std::string& what, std::int64_t times);  // waits until it happened that often
  // Its history, a line a row: "activity_completed charge".
  std::vector<std::string> history(const std::string& id);
  std::int64_t history_count(const std::string& id, const std::string& kind);
  Json history_data(const std::string& id, const std::string& kind);  // of the first row of the kind

  void expect_nothing_left();  // of all its instances
  void leaves_work() { leaves_work_ = true; }  // its instances will not come to rest: nobody serves them
  std::string story(const std::string& id);  // for failures: its history, its effects, everybody's log

  [[nodiscard]] const std::string& prefix() const { return prefix_; }
  [[nodiscard]] const std::string& conninfo() const { return conninfo_; }
  [[nodiscard]] const std::string& schema() const { return schema_; }

 protected:
  bool leaves_work_ = false;

 private:
  std::string prefix_, schema_, config_, conninfo_;
  std::unique_ptr<pg::Blocking> conn_;
};

// On the resident installation of its mode.
class Scenario : public testing::TestWithParam<Mode>, protected Client {
 protected:
  void SetUp() override;
  void TearDown() override;
};

// On an installation of its own, which it starts (system.start_all()) and whose processes it may kill.
class OwnScenario : public testing::TestWithParam<Mode>, protected Client {
 protected:
  OwnScenario() : OwnScenario("") {}
  // fallback: while notifications work.
  explicit OwnScenario(const std::string& more_toml, const std::string& session_timeout = "2s", const std::string& fallback = "1s");
  void SetUp() override;
  void TearDown() override;

  System system;
};

// Where site.cpp says what it started: conninfo, schema, configuration, its own pid, a line each.
std::string site_file(const Mode& mode);

}  // namespace romancy::test
