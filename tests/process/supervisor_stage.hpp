// supervisor_stage: a directory with a configuration, a bin_dir full of supervisor_child, and the real supervisor.
#pragma once
#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/json.hpp"
#include "tests/support/daemons.hpp"

namespace romancy::test {

class Stage {
 public:
  // `more`: TOML after the stage's own; `listener`, `relay`: as in the configuration.
  explicit Stage(const std::string& supervisor_keys = "", const std::string& more = "", bool listener = true);

  void does(const std::string& component, const std::string& behaviour) const;  // see supervisor_child.cpp
  // Writes the configuration anew; who reads it and when is the test's business.
  void configure(const std::string& supervisor_keys, const std::string& more = "", bool listener = true,
                 int processes = 2) const;
  std::string own_program();  // from now on the supervisor runs from a copy, whose path this is: for upgrades
  // A supervisor, until its control socket answers.
  void start(std::map<std::string, std::string> environment = {});
  void start_unanswered(std::map<std::string, std::string> environment = {});  // .. without waiting
  [[nodiscard]] Daemon& supervisor() { return *supervisor_; }
  void let_go() { supervisor_.reset(); }

  [[nodiscard]] Json ask(const Json& request) const;      // one request, one answer
  [[nodiscard]] std::string raw(const std::string& line) const;  // "" when it hung up without an answer
  [[nodiscard]] Json component(const std::string& name) const;   // of the status
  [[nodiscard]] bool is(const std::string& name, const std::string& state) const;
  [[nodiscard]] bool all_ready() const;
  [[nodiscard]] std::vector<std::string> events() const;
  [[nodiscard]] int seen(const std::string& event) const;        // how many of the events begin with this
  [[nodiscard]] int place(const std::string& event) const;       // of the last event that begins with this; -1
  [[nodiscard]] std::vector<pid_t> pids() const;                 // of all processes it ever started
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  [[nodiscard]] std::string config() const { return path("romancy.toml"); }

 private:
  TempDir dir_;
  std::string program_;
  std::unique_ptr<Daemon> supervisor_;
};

}  // namespace romancy::test
