// pg_schema: a fresh, migrated schema for one test, and what watches over it.
//
// The cluster is the one ./dev test started: ROMANCY_TEST_PG holds its connection string (a superuser's). A test that
// finds it unset fails: it was not run by ./dev test. Every Schema is another one, so tests run side by side.
//
// A guard (test only: a trigger on instances) notes every change of a finished instance and every token that falls;
// InvariantSampler and check_quiescent() report what it noted.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "common/pg/blocking.hpp"

namespace romancy::test {

// ROMANCY_TEST_PG; throws when it is not set.
std::string test_conninfo();

class Schema {
 public:
  enum class Make { migrated, absent };
  // conninfo empty: the shared cluster. Throws when it cannot be made: then no test can run.
  explicit Schema(std::string conninfo = {}, Make make = Make::migrated);
  ~Schema();  // drops it and its roles
  Schema(const Schema&) = delete;
  Schema& operator=(const Schema&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& conninfo() const { return conninfo_; }
  // As a worker's connection: its search_path and its settings.
  [[nodiscard]] pg::ConnOptions options() const;
  [[nodiscard]] pg::Blocking connect() const;
  // A script as the owner; throws on an error.
  void run(const std::string& sql) const;
  // Edits a function in this schema alone: `from` must stand exactly once in its text. For variants known to be
  // broken, and for stops (Gate, step.hpp).
  void patch(const std::string& function, const std::string& from, const std::string& to) const;

 private:
  std::string conninfo_, name_;
};

// What a schema gets for tests only: the guard. Schema does it; for a test that migrates its own. Throws on an error.
void add_guard(pg::Blocking& conn);

// All that must be true when nothing is under way and nobody is there: no poke, nothing unread, no owner, history
// without gaps, journal rows only of living sessions, no invariant broken, nothing noted by the guard.
testing::AssertionResult check_quiescent(pg::Blocking& conn);

// Samples the invariants from a thread and a connection of its own, every 20 ms, as long as it lives. Each violation
// fails the test with its row. A connection that is lost is made anew: tests restart servers.
class InvariantSampler {
 public:
  explicit InvariantSampler(const Schema& schema) : InvariantSampler(schema.options()) {}
  explicit InvariantSampler(pg::ConnOptions options, std::chrono::milliseconds every = std::chrono::milliseconds(20));
  ~InvariantSampler();  // stops, and fails the test if not one sample was taken
  InvariantSampler(const InvariantSampler&) = delete;
  InvariantSampler& operator=(const InvariantSampler&) = delete;

  void stop();
  [[nodiscard]] int samples() const { return samples_; }
  [[nodiscard]] int violations() const { return violations_; }

 private:
  void sample(pg::ConnOptions options, std::chrono::milliseconds every);
  std::atomic<int> samples_ = 0, violations_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace romancy::test
