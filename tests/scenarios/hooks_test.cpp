// Hooks: what a program is told of its instances is what their histories say.
#include <fstream>
#include <map>
#include <set>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

class Noted : public OwnScenario {
 protected:
  // And waits until it serves: one that is asked to stop before it listens to signals ends as if it were killed.
  void start_worker(int number) {
    system.start_worker(number, {{"SCENARIO_HOOKS", path()}});
    const int starts = ++starts_[number];
    ASSERT_TRUE(eventually([&] {
      const std::string log = system.worker(number).log();  // also of those before it
      int ready = 0;
      for (auto at = log.find(" ready"); at != log.npos; at = log.find(" ready", at + 1)) ++ready;
      return ready >= starts;
    })) << system.worker(number).log();
  }
  void start_others() {
    if (GetParam().hearing != Hearing::polling) system.start_listener();
    system.start_timer();
  }

  // A little of every kind of row; the cancelled, the failed and the impatient among them.
  void start_some(const std::string& name) {
    start("everything", 2, name + " everything");
    start("trip", {{"steps", 3}, {"then", "throw"}}, name + " trip");
    start("tx_retried", {{"what", "paid"}, {"failures", 1}}, name + " transactional");
    start("tx_branch", "paid", name + " refused");
    start("is_told", "never", name + " asynchronous");
    start("limited", nullptr, name + " limited");
    start("loops", {{"left", 2}, {"sum", 0}}, name + " generations");
    start("later", 1, name + " later");
    cancel(start("waits_an_hour", nullptr, name + " cancelled"));
    start("asks_the_world", nullptr, name + " side effect");
    const auto member = start("member", name + " crew", name + " member");
    for (const char* channel : {"all hands", "bye"}) publish(member, channel, 1);
    const auto leaver = start("leaver", name + " news", name + " leaver");
    for (int i = 0; i < 2; ++i) publish(leaver, "go on", i);
    sql("SELECT declare_channel($1, 'competing'), publish($1, '1')", pg::Params(name + " jobs"));
    start("subscribes_as", {{"channel", name + " jobs"}, {"competing", false}}, name + " refused subscriber");
    undecided_.push_back(start("hard_to_undo", "never opened", name + " undecided"));
  }
  void expect_all_ended() {
    for (const auto& id : undecided_) {
      ASSERT_TRUE(eventually([&] { return note(id).starts_with("compensation failed"); })) << story(id);
      sql("SELECT give_up_compensations($1)", pg::Params(id));
    }
    ASSERT_TRUE(eventually([&] {
      return count("SELECT count(*) FROM workflow_instances WHERE status IN ('running', 'compensating', 'stuck')") == 0;
    })) << one("SELECT string_agg(instance_id || ' ' || status, ', ') FROM workflow_instances WHERE finished_at IS NULL");
  }

  std::map<std::string, int> told() const {
    std::map<std::string, int> lines;
    std::ifstream file(path());
    for (std::string line; std::getline(file, line);) ++lines[line];
    return lines;
  }
  std::map<std::string, int> rows() {
    std::map<std::string, int> lines;
    const auto all = sql(
        "SELECT kind || '|' || h.instance_id || '|' || i.generation || '|' || h.seq || '|' || h.op "
        "  FROM workflow_history h JOIN workflow_instances i USING (instance_id) "
        "UNION ALL SELECT kind || '|' || instance_id || '|' || generation || '|' || seq || '|' || op FROM workflow_history_archive");
    for (int i = 0; i < all.size(); ++i) ++lines[all.str(i, 0)];
    return lines;
  }
  // Those that are no row of history say 0 for it.
  static bool is_row(const std::string& line) {
    const auto op = line.rfind('|');
    return line.substr(line.rfind('|', op - 1) + 1, op - line.rfind('|', op - 1) - 1) != "0";
  }
  static std::int64_t times_of(const std::map<std::string, int>& lines, const std::string& beginning) {
    std::int64_t all = 0;
    for (const auto& [line, times] : lines) all += line.starts_with(beginning) ? times : 0;
    return all;
  }

  // Each row told is in history, and told once. Returns how many were.
  std::size_t expect_told_what_is_and_only_once() {
    const auto lines = told(), wanted = rows();
    std::size_t rows_told = 0;
    for (const auto& [line, times] : lines) {
      if (!is_row(line)) continue;
      ++rows_told;
      EXPECT_TRUE(wanted.contains(line)) << "told of what is not in history: " << line;
      EXPECT_EQ(times, 1) << line;
    }
    return rows_told;
  }

 private:
  std::string path() const { return system.dir().path() + "/hooks"; }
  std::vector<std::string> undecided_;
  std::map<int, int> starts_;
};
ROMANCY_THEME(HooksTold, Noted);

TEST_P(HooksTold, OfEveryRowOnceWhoeverWroteIt) {
  start_others();
  start_worker(1);
  start_worker(2);
  ASSERT_TRUE(eventually([&] { return count("SELECT count(*) FROM workers WHERE kind = 'resumer'") == 2; }));
  start_some("first");
  ASSERT_TRUE(eventually([&] { return count("SELECT count(*) FROM effects") >= 3; }));
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();  // what it had goes on elsewhere
  start_some("second");
  start_worker(3);
  expect_all_ended();
  for (const int number : {2, 3}) EXPECT_EQ(system.worker(number).terminate(), 0) << system.worker(number).log();

  auto lines = told();
  const auto wanted = rows();
  ASSERT_GT(wanted.size(), 100u);
  std::set<std::string> kinds;
  for (const auto& [row, times] : wanted) kinds.insert(row.substr(0, row.find('|')));
  EXPECT_EQ(kinds.size(), 23u) << "some kind of row is not among them: " << testing::PrintToString(kinds);
  for (const auto& [row, times] : wanted) EXPECT_EQ(lines[row], times) << row;
  for (const auto& [line, times] : lines) {
    EXPECT_TRUE(!is_row(line) || wanted.contains(line)) << line;
  }
  // (Attempts that worker 1 had in its queue when it was asked to stop have no end.)
  EXPECT_GE(times_of(lines, "attempt_started "), times_of(lines, "attempt_ended "));
  // (An attempt of the first ones may have been made again after worker 1.)
  EXPECT_EQ(times_of(lines, "attempt_ended 1 failed|" + mine("second transactional")), 1);
  EXPECT_EQ(times_of(lines, "attempt_ended 2 ok|" + mine("second transactional")), 1);
  EXPECT_EQ(times_of(lines, "compensating|" + mine("first trip")), 1);
  EXPECT_EQ(times_of(lines, "compensating|" + mine("first everything")), 0);
}

// A process that dies between a commit and its hooks has told nobody; but what was told has happened.
TEST_P(HooksTold, NothingThatIsNotCommittedAndNothingTwiceByWorkersThatDie) {
  start_others();
  start_worker(1);
  start_worker(2);
  for (int i = 0; i < 3; ++i) {
    start_some(std::to_string(i));
    const auto before = count("SELECT count(*) FROM effects");
    EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM effects") > before; }));
    system.worker(1 + i % 2).kill9();
    start_worker(1 + i % 2);
  }
  expect_all_ended();
  for (const int number : {1, 2}) EXPECT_EQ(system.worker(number).terminate(), 0) << system.worker(number).log();

  EXPECT_GT(expect_told_what_is_and_only_once(), 50u);
}

// Its commit waits for the instance while the session is ended; then the lease is another's.
TEST_P(HooksTold, NothingOfACommitThatIsRefused) {
  start_others();
  start_worker(1);
  const auto id = start("held_step", mine("gate"));
  expect_times(id, "held", 1);
  system.sql("BEGIN");
  const auto pid = system.count("SELECT pg_backend_pid()");
  system.sql("SELECT FROM instances WHERE instance_id = $1 FOR UPDATE", pg::Params(id));
  open_gate(mine("gate"));
  ASSERT_TRUE(eventually([&] {
    return count("SELECT count(*) FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid))", pg::Params(pid)) == 1;
  })) << story(id);
  system.sql("SELECT end_session(session_id, false, false) FROM sessions WHERE kind = 'resumer'");
  system.sql("COMMIT");
  expect_completed(id);
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();
  EXPECT_TRUE(system.worker(1).logged("lease lost, the run is dropped")) << system.worker(1).log();
  EXPECT_EQ(expect_told_what_is_and_only_once(), rows().size());
}

}  // namespace
}  // namespace romancy::test
