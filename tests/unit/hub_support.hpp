// hub_support: what the tests of the hub and of its clients need: a loop run until a fact, and a directory.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"
#include "tests/support/bare_peer.hpp"

namespace romancy::test {

// Runs the loop until `fact` holds. The guard is against a hang only.
inline bool run_until(io::Loop& loop, const std::function<bool()>& fact) {
  using namespace std::chrono_literals;
  const auto guard = std::chrono::steady_clock::now() + 60s;
  bool held = fact();
  io::Alarm look(loop, [&] {
    held = fact();
    if (held || std::chrono::steady_clock::now() > guard) loop.stop();
    else look.set_in(1ms);
  });
  look.set_in(0ms);
  if (!held) loop.run();
  return held;
}

// Lets the loop take `turns` turns, in which whatever is ready happens.
inline void run_turns(io::Loop& loop, int turns = 20) {
  run_until(loop, [turns]() mutable { return --turns < 0; });
}

class ScratchDir {
 public:
  ScratchDir() {
    char name[] = "/tmp/romancy-hub-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    path_ = name;
  }
  ~ScratchDir() { std::filesystem::remove_all(path_); }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace romancy::test
