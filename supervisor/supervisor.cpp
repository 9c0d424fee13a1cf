#include "supervisor/supervisor.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

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

// Where we were started from, without what the kernel adds when another file is there by now.
std::string own_path() {
  std::error_code error;
  std::string path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  const std::string gone = " (deleted)";
  if (path.ends_with(gone)) path.resize(path.size() - gone.size());
  return path;
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::create(proc::Config config, const std::string& text) {
  auto lock = lock_runtime_dir(config.runtime_dir);
  if (!lock) return tl::unexpected(lock.error());
  std::string in_effect;
  if (!config.path.empty()) {
    in_effect = config.runtime_dir + "/config.toml";
    if (auto written = write_private(in_effect, text); !written) return tl::unexpected(written.error());
  }
  auto board = proc::Board::take_over(config.board_path());
  if (!board) return tl::unexpected(board.error());
  UniqueFd hub;
  if (config.listener != proc::Listening::off) {
    auto listening = take_socket(config.hub_path());
    if (!listening) return tl::unexpected(listening.error());
    hub = std::move(*listening);
  }
  auto control = take_socket(config.control_path());
  if (!control) return tl::unexpected(control.error());
  auto supervisor = std::unique_ptr<Supervisor>(
      new Supervisor(std::move(config), {std::move(*lock), std::move(hub), std::move(*control), std::move(*board), in_effect}));
  for (Component& component : supervisor->planned()) {
    supervisor->children_.push_back(std::make_unique<Child>(supervisor->around_, std::move(component)));
  }
  return supervisor;
}

Supervisor::Supervisor(proc::Config config, Owned owned)
    : config_(std::move(config)),
      lock_(std::move(owned.lock)),
      board_(std::move(owned.board)),
      hub_(std::move(owned.hub)),
      control_fd_(owned.control.get()),
      program_(own_path()),
      around_{loop_, config_, board_, owned.in_effect, hub_.get(), [this] { go_on_stopping(); }},
      control_(loop_, std::move(owned.control),
               [this](const Control::Request& request, const Control::Reply& reply) { answer(request, reply); }),
      tick_(loop_, [this] { tick(); }),
      soon_(loop_, [this] { execute(); }),
      watchdog_(loop_, [this] { feed_watchdog(); }),
      fed_every_(watchdog_interval() / 2) {}

Supervisor::~Supervisor() {
  // Ours as long as we hold the lock. What a killed supervisor leaves, the next one replaces.
  for (const std::string& path : {config_.control_path(), config_.board_path(), around_.in_effect}) {
    if (!path.empty()) ::unlink(path.c_str());
  }
  if (hub_) ::unlink(config_.hub_path().c_str());
}

// The components of the configuration, each in its slot.
std::vector<Component> Supervisor::planned() {
  auto components = plan(config_, find_bin_dir(config_));
  std::vector<std::string> names;
  for (int slot = 0; slot < proc::kSlots; ++slot) names.push_back(board_.name(slot));
  std::set<int> busy;
  for (Child* child : everybody()) {
    const auto same = [&](const Component& component) { return component.name == child->component().name; };
    if (std::any_of(components.begin(), components.end(), same)) {
      names[static_cast<std::size_t>(child->component().slot)] = child->component().name;  // it may not have claimed it yet
    } else if (!child->gone()) {
      busy.insert(child->component().slot);
    }
  }
  for (const int slot : assign_slots(components, names, busy)) board_.clear(slot);
  return components;
}

int Supervisor::run() {
  io::Signals signals(loop_, {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR2}, [this](int signal) { on_signal(signal); });
  if (taken_over_) {  // blocked since before the exec, lest one of them kill the program that had no handlers yet
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_UNBLOCK, &all, nullptr);
  }
  tick_.set_in(kTick);
  if (fed_every_.count() > 0) watchdog_.set_in(fed_every_);
  if (config_.migrate) {
    migration_ = std::make_unique<Migration>(loop_, find_bin_dir(config_), config_.path, [this](int exit_code) {
      if (exit_code != proc::kExitOk) log::error("the database refuses to be migrated, see above", {{"exit", exit_code}});
      if (exit_code != proc::kExitOk && taken_over_) return end_rollout("the database refuses to be migrated");
      if (exit_code != proc::kExitOk) {
        exit_code_ = exit_code;
        stopping_ = true;
      }
      if (stopping_) go_on_stopping();
      else if (taken_over_) begin_rollout();
      else start_all();
    });
    migration_->start();
  } else if (taken_over_) {
    begin_rollout();
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
  notify("STOPPING=1\nSTATUS=stopping");
  if (migration_ && !migration_->done()) migration_->stop();
  to_replace_.clear();
  rolling_ = false;
  for (const Kind kind : {Kind::relay, Kind::timer, Kind::resumer}) {
    for (Child* child : everybody()) {
      if (child->component().kind == kind) child->stop();
    }
  }
  loop_.post([this] { go_on_stopping(); });
}

// Whenever something has gone: those that leave may be forgotten; and while we stop: is it the listener's turn, is it ours?
void Supervisor::go_on_stopping() {
  std::erase_if(leaving_, [](const auto& child) { return child->gone(); });
  if (!stopping_ || (migration_ && !migration_->done())) return;
  const auto all = everybody();
  const auto gone = [](const Child* child) { return child->gone(); };
  const auto consumer_lives = [&](const Child* child) {
    return child->component().kind != Kind::listener && !gone(child);
  };
  if (std::any_of(all.begin(), all.end(), consumer_lives)) return;
  if (std::all_of(all.begin(), all.end(), gone)) {
    loop_.stop();
    return;
  }
  for (Child* child : all) child->stop();  // the listener; told once, it is draining
}

void Supervisor::on_signal(int signal) {
  if (signal == SIGCHLD) {
    reap();
  } else if (signal == SIGHUP) {
    reload([](const Json&) {});
  } else if (signal == SIGUSR2) {
    upgrade([](const Json&) {});
  } else if (!stopping_) {
    begin_stop();
  } else {
    log::warn("second signal: no more grace", {{"signal", signal}});
    if (migration_ && !migration_->done()) migration_->stop();
    for (Child* child : everybody()) child->kill();
  }
}

// All that have died, ours or reparented to us (as the first process of a container we get everybody's orphans).
void Supervisor::reap() {
  for (;;) {
    // Look first, reap later: while the dead leader is unreaped its number still names its group, and nobody else.
    siginfo_t dead{};
    if (::waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) != 0 || dead.si_pid == 0) return;
    const pid_t pid = dead.si_pid;
    const auto all = everybody();
    const auto child = std::find_if(all.begin(), all.end(), [&](const Child* c) { return c->pid() == pid; });
    const bool migrated = migration_ && migration_->pid() == pid;
    const bool checked = check_ && check_->pid() == pid;
    if (child != all.end() || checked) ::kill(-pid, SIGKILL);  // what it left behind; ESRCH: nothing
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != pid) return;
    if (child != all.end()) (*child)->reaped(status);
    if (migrated) migration_->reaped(status);
    if (checked) check_->reaped(status);
  }
}

void Supervisor::tick() {
  const auto now = Clock::now();
  // Whoever was frozen together with us (a suspended virtual machine, a stopped container) gets time to beat again.
  if (now - last_tick_ > kFrozen) watch_from_ = now + kFrozen;
  last_tick_ = now;
  reap();  // SIGCHLD tells; this is for the one that was lost
  if (now >= watch_from_) {
    for (Child* child : everybody()) child->watch();
  }
  roll();
  tell_systemd();
  tick_.set_in(kTick);
}

void Supervisor::tell_systemd() {
  if (stopping_ || (migration_ && !migration_->done() && !taken_over_)) return;
  const std::string line = status_line(reports(), note_);
  if (line == told_) return;
  told_ = line;
  notify("STATUS=" + line);
}

// Only a supervisor that looks after its children is alive.
void Supervisor::feed_watchdog() {
  if (Clock::now() - last_tick_ < kFrozen + fed_every_) notify("WATCHDOG=1");
  watchdog_.set_in(fed_every_);
}

std::vector<Child*> Supervisor::everybody() {
  std::vector<Child*> all;
  for (const auto& child : children_) all.push_back(child.get());
  if (arriving_) all.push_back(arriving_.get());
  for (const auto& child : leaving_) all.push_back(child.get());
  return all;
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

std::vector<ChildReport> Supervisor::reports() {
  std::vector<ChildReport> all;
  for (Child* child : everybody()) {
    if (child != arriving_.get()) all.push_back(child->report());
  }
  return all;
}

void Supervisor::answer(const Control::Request& request, const Control::Reply& reply) {
  if (request.command == "reload") return reload(reply);
  if (request.command == "upgrade") return upgrade(reply);
  reply(command(request));
}

Json Supervisor::command(const Control::Request& request) {
  const std::string& command = request.command;
  if (command == "status") {
    return status_json(reports(), std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_at_), note_);
  }
  const std::set<std::string> known_commands = {"restart", "start", "stop", "drain", "log-level"};
  if (!known_commands.contains(command)) {
    return Control::refused("command: must be status, restart, start, stop, drain, log-level, reload or upgrade");
  }
  if (command == "stop" && (request.component.empty() || request.component == "all")) {
    begin_stop();
    return {{"ok", true}};
  }
  const bool told_level = command == "log-level";
  const auto level = proc::parse_level(request.level);
  if (told_level && !level && request.level != "default") {
    return Control::refused("level: must be debug, info, warn, error or default");
  }
  if (stopping_) return Control::refused("the supervisor is stopping");
  if (migration_ && !migration_->done()) return Control::refused("waiting for the migration of the database");
  const bool ourselves = told_level && (request.component == "supervisor" || request.component == "all");
  const auto found = find(request.component);
  if (found.empty() && !ourselves) {
    std::string known = told_level ? "all, supervisor" : "all";
    for (const auto& child : children_) known += ", " + child->component().name;
    return Control::refused("component: must be one of " + known);
  }
  log::info("asked", {{"command", command}, {"component", request.component}});
  if (ourselves) {
    level_ = level ? request.level : "";
    log::set_up("supervisor", level.value_or(config_.log_level));
  }
  for (Child* child : found) {
    if (command == "restart") child->restart();
    else if (command == "start") child->start();
    else if (command == "drain") child->drain();
    else if (told_level) child->log_level(request.level);
    else child->stop();
  }
  return {{"ok", true}};
}

}  // namespace romancy::supervisor
