// Hooks: what a program is told of its instances is what their histories say.
#include <fstream>
#include <map>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

class Noted : public OwnScenario {
 protected:
  void start_worker(int number) { system.start_worker(number, {{"SCENARIO_HOOKS", path()}}); }
  void start_others() {
    if (GetParam().hearing != Hearing::polling) system.start_listener();
    system.start_timer();
  }

  // A little of every kind; the cancelled, the failed and the impatient among them.
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
  }
  void expect_all_ended() {
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

 private:
  std::string path() const { return system.dir().path() + "/hooks"; }
};
ROMANCY_THEME(HooksTold, Noted);

TEST_P(HooksTold, OfEveryRowOnceWhoeverWroteIt) {
  start_others();
  start_worker(1);
  start_worker(2);
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

  const auto lines = told(), wanted = rows();
  std::size_t rows_told = 0;
  for (const auto& [line, times] : lines) {
    if (!is_row(line)) continue;
    ++rows_told;
    EXPECT_TRUE(wanted.contains(line)) << "told of what is not in history: " << line;
    EXPECT_EQ(times, 1) << line;
  }
  EXPECT_GT(rows_told, 50u);
}

}  // namespace
}  // namespace romancy::test
