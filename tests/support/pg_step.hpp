// pg_step: two or three connections driven by hand, statement by statement, so that a test can take any interleaving.
//
// Step is one connection. run() waits for the answer; send() does not, and then expect_blocked() waits until the server
// itself says that the statement waits for a lock, and collect() takes the answer. Answers are text: columns joined
// with '|', rows with a newline, NULL is empty.
//
// Gate stops a function of the schema in the middle: patch it with PERFORM stop_at('name') (Schema::patch), hold a Gate
// of that name, and whoever comes by waits there until open(). Each statement after the stop has a newer snapshot.
//
// Speaks libpq itself: what is tested here must not also be what drives the test.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pg_schema.hpp"

namespace romancy::test {

class Step {
 public:
  explicit Step(const Schema& schema);
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  std::string run(const std::string& sql);    // fails the test on an error
  std::string error(const std::string& sql);  // "22023 the message"; fails the test when there is none
  void send(const std::string& sql);
  void expect_blocked();                      // what was sent waits for a lock
  void wait_until(const std::string& sql);    // until this answers true
  std::string collect();
  std::string collect_error();
  std::string collect_any();                  // the answer, or the error
  [[nodiscard]] int pid() const;
  void disconnect();
  // Notices since the last call.
  std::vector<std::string> notices();
  // Notifications that came by now, as {channel, payload}; a round trip first, so that none is on its way.
  std::vector<std::pair<std::string, std::string>> notifications();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Gate {
 public:
  Gate(const Schema& schema, const std::string& name);  // closed
  void open();
  void close();  // waits until nobody is inside whose transaction came through

 private:
  Step holder_;
  std::string name_;
};

}  // namespace romancy::test
