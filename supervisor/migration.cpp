#include "supervisor/migration.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/proc/inherited.hpp"
#include "supervisor/spawn.hpp"

namespace romancy::supervisor {

Migration::Migration(io::Loop& loop, std::string bin_dir, std::string config_path, std::function<void(int)> on_done)
    : command_{std::move(bin_dir) + "/romancy", "migrate"},
      on_done_(std::move(on_done)),
      backoff_(std::chrono::milliseconds(200), std::chrono::seconds(10)),
      retry_(loop, [this] { start(); }) {
  if (!config_path.empty()) command_.insert(command_.end(), {"--config", std::move(config_path)});
}

void Migration::start() {
  Program program;
  program.command = command_;
  program.environment = plain_environment();
  auto spawned = spawn(program);
  if (!spawned) {
    try_later(spawned.error().text);
    return;
  }
  pid_ = spawned->pid;
  pidfd_ = std::move(spawned->pidfd);
  log::info("migrating", {{"pid", pid_}});
}

void Migration::stop() {
  retry_.cancel();
  if (pid_ == 0) {
    finish(proc::kExitOk);
    return;
  }
  const int signal = stops_++ == 0 ? SIGTERM : SIGKILL;
  if (!send_signal(pid_, pidfd_, signal)) log::warn("kill", {{"child", "migrate"}, {"error", errno_text(errno)}});
}

void Migration::reaped(int wait_status) {
  pid_ = 0;
  const int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
  if (stops_ > 0) finish(proc::kExitOk);
  else if (code == proc::kExitOk || code == proc::kExitConfig) finish(code);
  else try_later(describe_exit(wait_status));
}

void Migration::try_later(const std::string& why) {
  const auto delay = backoff_.next();
  log::warn("migration failed, tried again", {{"why", why}, {"delay_ms", delay.count()}});
  retry_.set_in(delay);
}

void Migration::finish(int exit_code) {
  if (done_) return;
  done_ = true;
  on_done_(exit_code);
}

}  // namespace romancy::supervisor
