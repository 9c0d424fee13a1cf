// Migration: `romancy migrate`, run once before the children (database.migrate = true).
//
// Ends with 0, or with 78 when the database refuses for good. Everything else (75: the database is away; a crash) is
// tried again with back-off, 200 ms to 10 s, for as long as it takes.
#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "common/base/backoff.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"

namespace romancy::supervisor {

class Migration {
 public:
  Migration(io::Loop& loop, std::string bin_dir, std::string config_path, std::function<void(int exit_code)> on_done);

  void start();
  void stop();                   // SIGTERM; on_done comes with 0 when it is gone. Again: SIGKILL
  void reaped(int wait_status);
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool done() const { return done_; }

 private:
  void try_later(const std::string& why);
  void finish(int exit_code);

  std::vector<std::string> command_;
  std::function<void(int)> on_done_;
  Backoff backoff_;
  io::Alarm retry_;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  int stops_ = 0;
  bool done_ = false;
};

}  // namespace romancy::supervisor
