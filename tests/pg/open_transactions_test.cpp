// What an application's transaction holds up while it stays open: nothing of the workers', and of other applications'
// only what names the very same thing. A statement that would wait here fails, by a lock_timeout that is a hang guard.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::EndsWith;
using testing::StartsWith;

// c is the application whose transaction stays open.
class OpenTransactions : public Storage {
 protected:
  Step other{schema};

  void SetUp() override {
    for (Step* step : {&a, &b, &other}) step->run("SET lock_timeout = '20s'");
  }
  static std::string serve(std::int64_t session, const std::string& workflows) {
    return "SELECT workflow_name FROM start_session(" + std::to_string(session) +
           ", 'worker', 'resumer', array_fill('default'::text, ARRAY[cardinality('" + workflows + "'::text[])]), '" +
           workflows + "', '1 hour', '{}')";
  }
  static std::string start_fresh(const std::string& id) { return "SELECT start_workflow('fresh', '{}', '" + id + "')"; }
  static std::string claim_fresh(std::int64_t session) {
    return "SELECT instance_id, workflow_name FROM claim_runs(" + std::to_string(session) +
           ", ARRAY[route_id('default', 'fresh')], '{0}', 100, 100) WHERE instance_id IS NOT NULL ORDER BY 1";
  }
};

class Routes : public OpenTransactions {};

TEST_F(Routes, TheFirstStartOfANameHoldsUpNeitherItsWorkersNorOtherStarts) {
  c.run("BEGIN; " + start_fresh("c1"));
  EXPECT_EQ(b.run(serve(2, "{fresh,w}")), "fresh\nw") << "a worker that serves it";
  EXPECT_EQ(other.run(start_fresh("o1")), "o1") << "another application";
  EXPECT_EQ(b.run(claim_fresh(2)), "o1|fresh");
  c.run("COMMIT");
  EXPECT_EQ(b.run(claim_fresh(2)), "c1|fresh");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Routes, AnOpenSessionOfAWorkerHoldsUpNeitherAnotherNorStarts) {
  a.run("BEGIN; " + serve(1, "{w,fresh}"));
  EXPECT_EQ(b.run(serve(2, "{fresh,w}")), "fresh\nw");
  EXPECT_EQ(other.run(start_fresh("o1")), "o1");
  a.run("ROLLBACK");
  EXPECT_EQ(b.run(claim_fresh(2)), "o1|fresh");
}

TEST_F(Routes, ANameThatTwoWroteDoublesNothing) {
  c.run("BEGIN; " + start_fresh("c1"));
  other.run(start_fresh("o1"));
  b.run(serve(2, "{fresh,fresh}"));
  c.run("COMMIT");
  ASSERT_EQ(c.run("SELECT count(*) FROM routes WHERE workflow_name = 'fresh'"), "2");
  EXPECT_EQ(c.run("SELECT instance_id, workflow_name, queue FROM workflow_instances ORDER BY 1"),
            "c1|fresh|default\no1|fresh|default");
  EXPECT_EQ(c.run("SELECT workflows FROM workers"), "{default/fresh}");
  EXPECT_EQ(b.run(claim_fresh(2)), "c1|fresh\no1|fresh");
  EXPECT_EQ(c.run("SELECT cancel_workflow('c1'), (SELECT status FROM workflow_result('c1'))"), "t|running");
  EXPECT_EQ(c.run(start_fresh("c1")), "c1");
  EXPECT_EQ(c.error("SELECT start_workflow('w', '{}', 'c1')"), "22023 instance_id: 'c1' is an instance of workflow 'fresh'");
  other.run(serve(3, "{fresh}"));
  EXPECT_EQ(c.run("SELECT count(*) FROM routes WHERE workflow_name = 'fresh'"), "2") << "who sees one writes none";
}

// Rows outlive the server and its version: what stands in a dump must be what is computed after the upgrade.
TEST_F(Routes, IdsAreComputedAndStayTheSameForEver) {
  EXPECT_EQ(a.run("SELECT route_id('default', 'w'), route_id('ab', 'c'), route_id('a', 'bc'), route_id('ö', 'ß')"),
            "478655685165708854|170840946283831858|240396454518806383|133735964972022240");
  EXPECT_EQ(a.run("SELECT min(r) > 0, max(r) <= 1::bigint << 60, count(DISTINCT r) "
                  "FROM (SELECT route_id('q' || n % 10, 'w' || n / 10) r FROM generate_series(1, 20000) n) x"),
            "t|t|20000");
}

TEST_F(Routes, TwoNamesWithOneIdAreRefusedByName) {
  a.run("INSERT INTO routes VALUES (route_id('default', 'w'), 'default', 'w'), (route_id('default', 'w'), 'q', 'twin')");
  const std::string refused = "22023 workflow_name: 'w' in queue 'default' has the route id of 'twin' in queue 'q', rename one";
  EXPECT_EQ(c.error(start("i1")), refused);
  EXPECT_EQ(b.error(start_session(2)), refused);
  EXPECT_EQ(counts({"instances", "sessions"}), "0|0");
}

}  // namespace
}  // namespace romancy::test
