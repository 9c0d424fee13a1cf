// Check: a process of its own tries what we would rather not try on ourselves: reads a new configuration, or, as the
// program of an upgrade, our state. Whatever it does (crash, hang, be no program at all), nothing of ours changes.
//
// The last line it prints is its word: kFits and exit 0 is yes; anything else is no, with the line as the reason.
// Promise: on_done is called exactly once after start(), within 10 s, from the loop.
#pragma once
#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/result.hpp"
#include "common/io/alarm.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/loop.hpp"
#include "supervisor/spawn.hpp"

namespace romancy::supervisor {

inline constexpr const char* kFits = "romancy-supervisor: this fits";

class Check {
 public:
  using OnDone = std::function<void(Result<void>)>;
  Check(io::Loop& loop, OnDone on_done);

  void start(Program program);  // its out_fd is ours to set
  void reaped(int wait_status);
  [[nodiscard]] pid_t pid() const { return pid_; }  // 0: none, or reaped

 private:
  void maybe_done();
  void done(Result<void> result);

  io::Loop& loop_;
  OnDone on_done_;
  io::Alarm deadline_;
  std::unique_ptr<io::LineStream> out_;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  std::string last_;
  std::optional<int> status_;
  bool heard_ = false, late_ = false, done_ = false;
};

}  // namespace romancy::supervisor
