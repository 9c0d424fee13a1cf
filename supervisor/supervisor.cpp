#include "supervisor/supervisor.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "common/base/log.hpp"
#include "common/io/signals.hpp"
#include "common/proc/inherited.hpp"
#include "supervisor/notify.hpp"
#include "supervisor/plan.hpp"
#include "supervisor/runtime_dir.hpp"
#include "supervisor/status.hpp"

namespace romancy::supervisor {
namespace {

constexpr auto kTick = std::chrono::milliseconds(500);
constexpr auto kFrozen = std::chrono::seconds(2);  // a tick that comes this late: we were stopped, or the host was

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::create(proc::Config config) {
  auto lock = lock_runtime_dir(config.runtime_dir);
  if (!lock) return tl::unexpected(lock.error());
  auto board = proc::Board::create(config.board_path());
  if (!board) return tl::unexpected(board.error());
  UniqueFd hub;
  if (config.listener != proc::Listening::off) {
    auto listening = take_socket(config.hub_path());
    if (!listening) return tl::unexpected(listening.error());
    hub = std::move(*listening);
  }
  auto control = take_socket(config.control_path());
  if (!control) return tl::unexpected(control.error());
  return std::unique_ptr<Supervisor>(
      new Supervisor(std::move(config), std::move(*lock), std::move(*board), std::move(hub), std::move(*control)));
}

Supervisor::Supervisor(proc::Config config, UniqueFd lock, proc::Board board, UniqueFd hub, UniqueFd control)
    : config_(std::move(config)),
      lock_(std::move(lock)),
      board_(std::move(board)),
      hub_(std::move(hub)),
      around_{loop_, config_, board_, hub_.get(), [this] { go_on_stopping(); }},
      control_(loop_, std::move(control),
               [this](const std::string& command, const std::string& component) { return answer(command, component); }),
      tick_(loop_, [this] { tick(); }) {
  for (Component& component : plan(config_, find_bin_dir(config_))) {
    children_.push_back(std::make_unique<Child>(around_, std::move(component)));
  }
}

Supervisor::~Supervisor() {
  // Ours as long as we hold the lock. What a killed supervisor leaves, the next one replaces.
  for (const std::string& path : {config_.control_path(), config_.board_path()}) ::unlink(path.c_str());
  if (hub_) ::unlink(config_.hub_path().c_str());
}

int Supervisor::run() {
  io::Signals signals(loop_, {SIGTERM, SIGINT, SIGHUP, SIGCHLD}, [this](int signal) { on_signal(signal); });
  tick_.set_in(kTick);
  if (config_.migrate) {
    migration_ = std::make_unique<Migration>(loop_, find_bin_dir(config_), config_.path, [this](int exit_code) {
      if (exit_code != proc::kExitOk) {
        log::error("the database refuses to be migrated, see above", {{"exit", exit_code}});
        exit_code_ = exit_code;
        stopping_ = true;
      }
      if (stopping_) go_on_stopping();
      else start_all();
    });
    migration_->start();
  } else {
    start_all();
  }
  loop_.run();
  log::info("stopped", {{"exit", exit_code_}});
  return exit_code_;
}

void Supervisor::start_all() {
  for (const auto& child : children_) child->start();
  notify("READY=1\nSTATUS=every process has been started; romancy status tells more");
}

void Supervisor::begin_stop() {
  if (stopping_) return;
  stopping_ = true;
  log::info("stopping");
  notify("STOPPING=1");
  if (migration_ && !migration_->done()) migration_->stop();
  for (const Kind kind : {Kind::relay, Kind::timer, Kind::resumer}) {
    for (const auto& child : children_) {
      if (child->component().kind == kind) child->stop();
    }
  }
  loop_.post([this] { go_on_stopping(); });
}

// Whenever something has gone while we stop: is it the listener's turn, is it ours?
void Supervisor::go_on_stopping() {
  if (!stopping_ || (migration_ && !migration_->done())) return;
  const auto gone = [](const auto& child) { return child->gone(); };
  const auto consumer_lives = [&](const auto& child) {
    return child->component().kind != Kind::listener && !gone(child);
  };
  if (std::any_of(children_.begin(), children_.end(), consumer_lives)) return;
  if (std::all_of(children_.begin(), children_.end(), gone)) {
    loop_.stop();
    return;
  }
  for (const auto& child : children_) child->stop();  // the listener; told once, it is draining
}

void Supervisor::on_signal(int signal) {
  if (signal == SIGCHLD) {
    reap();
  } else if (signal == SIGHUP) {
    log::warn("SIGHUP ignored: a changed configuration is read by a restart of the supervisor");
  } else if (!stopping_) {
    begin_stop();
  } else {
    log::warn("second signal: no more grace", {{"signal", signal}});
    if (migration_ && !migration_->done()) migration_->stop();
    for (const auto& child : children_) child->kill();
  }
}

// All that have died, ours or reparented to us (as the first process of a container we get everybody's orphans).
void Supervisor::reap() {
  for (;;) {
    // Look first, reap later: while the dead leader is unreaped its number still names its group, and nobody else.
    siginfo_t dead{};
    if (::waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) != 0 || dead.si_pid == 0) return;
    const pid_t pid = dead.si_pid;
    const auto child = std::find_if(children_.begin(), children_.end(), [&](const auto& c) { return c->pid() == pid; });
    const bool migrated = migration_ && migration_->pid() == pid;
    if (child != children_.end()) ::kill(-pid, SIGKILL);  // what it left behind; ESRCH: nothing
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != pid) return;
    if (child != children_.end()) (*child)->reaped(status);
    if (migrated) migration_->reaped(status);
  }
}

void Supervisor::tick() {
  const auto now = Clock::now();
  // Whoever was frozen together with us (a suspended virtual machine, a stopped container) gets time to beat again.
  if (now - last_tick_ > kFrozen) watch_from_ = now + kFrozen;
  last_tick_ = now;
  reap();  // SIGCHLD tells; this is for the one that was lost
  if (now >= watch_from_) {
    for (const auto& child : children_) child->watch();
  }
  tick_.set_in(kTick);
}

std::vector<Child*> Supervisor::find(const std::string& component) {
  std::vector<Child*> found;
  for (const auto& child : children_) {
    const std::string& name = child->component().name;
    const bool member = child->component().kind == Kind::resumer && name.substr(0, name.rfind('.')) == component;
    if (component == "all" || name == component || member) found.push_back(child.get());
  }
  return found;
}

Json Supervisor::answer(const std::string& command, const std::string& component) {
  if (command == "status") {
    std::vector<ChildReport> reports;
    for (const auto& child : children_) reports.push_back(child->report());
    return status_json(reports, std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_at_));
  }
  if (command != "restart" && command != "start" && command != "stop") {
    return Control::refused("command: must be status, restart, start or stop");
  }
  if (command == "stop" && (component.empty() || component == "all")) {
    begin_stop();
    return {{"ok", true}};
  }
  if (stopping_) return Control::refused("the supervisor is stopping");
  if (migration_ && !migration_->done()) return Control::refused("waiting for the migration of the database");
  const auto found = find(component);
  if (found.empty()) {
    std::string known = "all";
    for (const auto& child : children_) known += ", " + child->component().name;
    return Control::refused("component: must be one of " + known);
  }
  log::info("asked", {{"command", command}, {"component", component}});
  for (Child* child : found) {
    if (command == "restart") child->restart();
    else if (command == "start") child->start();
    else child->stop();
  }
  return {{"ok", true}};
}

}  // namespace romancy::supervisor
