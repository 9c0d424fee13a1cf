#include "supervisor/child.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <random>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/proc/inherited.hpp"
#include "supervisor/spawn.hpp"

namespace romancy::supervisor {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

// A process that somebody looks at with a debugger does not beat, and is not hung.
bool traced(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("TracerPid:", 0) == 0) return line.find_first_of("123456789") != std::string::npos;
  }
  return false;
}

}  // namespace

Child::Child(const Surroundings& around, Component component)
    : around_(around),
      component_(std::move(component)),
      tally_(around.config.restart_delay, around.config.restart_delay_max, std::random_device{}()),
      due_(around.loop, [this] { on_due(); }) {}

// Only when the supervisor itself fails: children know by PDEATHSIG and by EOF on their control socket.
Child::~Child() = default;

void Child::start() {
  tally_.forgive();
  on(ChildEvent::start);
}

void Child::stop() { on(ChildEvent::stop); }
void Child::drain() { on(ChildEvent::drain); }

void Child::restart() {
  tally_.forgive();
  on(ChildEvent::restart);
}

void Child::kill() {
  if (pid_ != 0) signal_group(SIGKILL);
}

void Child::change(Component component) {
  component.slot = component_.slot;
  component_ = std::move(component);
}

void Child::reloaded() {
  tally_.waits(around_.config.restart_delay, around_.config.restart_delay_max);
  if (level_.empty()) say_level();
}

void Child::log_level(std::string_view word) {
  level_ = word == "default" ? "" : word;
  say_level();
}

void Child::say_level() {
  if (!control_) return;
  const std::string_view word = level_.empty() ? proc::level_word(around_.config.log_level) : level_;
  if (!control_->send(proc::kWordLog + std::string(word))) log::warn("not told", {{"child", component_.name}});
}

void Child::follows(const Child& former) {
  starts_ = former.starts_;
  level_ = former.level_;
  last_exit_ = former.last_exit_;
}

void Child::on(ChildEvent event) {
  const Transition transition = step(state_, event);
  enter(transition.to);
  act(transition.effect);
}

void Child::enter(ChildState next) {
  if (next == state_) return;
  const bool bad = next == ChildState::backoff || next == ChildState::held;
  const auto level = bad ? log::Level::warn : log::Level::info;
  const log::Field who("child", component_.name), from("from", state_name(state_)), to("to", state_name(next));
  if (why_.empty()) log::write(level, "state", {who, from, to});
  else log::write(level, "state", {who, from, to, {"why", why_}});
  state_ = next;
  ready_since_.reset();
  if (next == ChildState::ready) ready_since_ = Clock::now();
  if (gone()) around_.loop.post(around_.on_gone);  // not from here: the caller is in the middle of something
}

void Child::act(ChildEffect effect) {
  switch (effect) {
    case ChildEffect::none: return;
    case ChildEffect::spawn: spawn_it(); return;
    case ChildEffect::wait: arm(delay_); return;
    case ChildEffect::drain: drain_it(true); return;
    case ChildEffect::finish: drain_it(false); return;
    case ChildEffect::terminate: terminate_it(); return;
    case ChildEffect::forget: due_.cancel(); return;
  }
}

void Child::spawn_it() {
  due_.cancel();
  why_.clear();
  trouble_.clear();
  const auto failed = [&](const std::string& text) {
    delay_ = tally_.not_started().delay;
    why_ = text + "; tried again in " + proc::format_duration(delay_);
    on(ChildEvent::spawn_failed);
  };
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    failed(std::string("socketpair: ") + errno_text(errno));
    return;
  }
  UniqueFd ours(pair[0]), theirs(pair[1]);
  Program program;
  program.command = component_.command;
  program.environment = plain_environment();
  const auto set = [&](const std::string& name, const std::string& value) {
    program.environment.push_back(name + "=" + value);
  };
  set(proc::kEnvComponent, component_.name);
  set(proc::kEnvControl, "1");
  set(proc::kEnvSlot, std::to_string(component_.slot));
  set(proc::kEnvParent, std::to_string(::getpid()));
  if (!around_.config.path.empty()) set(proc::kEnvConfig, around_.config.path);
  if (!component_.version.empty()) set(proc::kEnvVersion, component_.version);
  if (!around_.in_effect.empty()) set(proc::kEnvInEffect, around_.in_effect);
  program.control_fd = theirs.get();
  program.board_fd = around_.board.fd();
  if (component_.kind == Kind::listener && around_.hub_fd >= 0) {
    program.hub_fd = around_.hub_fd;
    set(proc::kEnvHub, "1");
  }
  started_at_ = Clock::now();
  auto spawned = spawn(program);
  if (!spawned) {
    failed(spawned.error().text);
    return;
  }
  pid_ = spawned->pid;
  pidfd_ = std::move(spawned->pidfd);
  ++starts_;
  terminating_ = limited_ = false;
  log::info("started", {{"child", component_.name}, {"pid", pid_}});
  listen_to(std::move(ours));
  if (!level_.empty()) say_level();
}

void Child::listen_to(UniqueFd control) {
  io::LineStream::Handlers handlers;
  handlers.on_line = [this](std::string_view word) { on_word(word); };
  handlers.on_close = [](std::string_view) {};  // its death is told by the kernel
  control_ = std::make_unique<io::LineStream>(around_.loop, std::move(control), io::LineCaps{}, std::move(handlers));
}

void Child::on_word(std::string_view word) {
  if (word == proc::kWordReady) {
    tally_.started();
    on(ChildEvent::ready);
  } else if (word.starts_with(proc::kWordTrouble)) {
    trouble_ = word.substr(std::string_view(proc::kWordTrouble).size());
  }
  else log::warn("unknown word from a child", {{"child", component_.name}, {"word", word.substr(0, 80)}});
}

void Child::drain_it(bool limited) {
  if (terminating_ || limited_) return;  // SIGKILL is near; or told before, and the time runs
  const bool told = control_ && control_->send(limited ? proc::kWordDrain : proc::kWordFinish);
  if (told && !limited) return;
  limited_ = true;
  next_signal_ = SIGTERM;
  arm(told ? std::chrono::nanoseconds(around_.config.stop_timeout) : std::chrono::nanoseconds(0));
}

void Child::arm(std::chrono::nanoseconds delay) {
  due_at_ = Clock::now() + delay;
  due_.set_in(delay);
}

void Child::terminate_it() {
  if (terminating_) return;
  terminating_ = true;
  log::warn("killed", {{"child", component_.name}, {"pid", pid_}, {"why", why_}});
  if (!send_signal(pid_, pidfd_, SIGABRT)) log::warn("kill", {{"child", component_.name}, {"error", errno_text(errno)}});
  signal_group(SIGCONT);  // a stopped process dies of nothing but SIGKILL
  next_signal_ = SIGKILL;
  arm(kKillAfter);
}

void Child::on_due() {
  if (state_ == ChildState::backoff) {
    on(ChildEvent::delay_over);
  } else if (pid_ != 0) {
    log::warn("signalled", {{"child", component_.name}, {"pid", pid_}, {"signal", next_signal_}});
    signal_group(next_signal_);
    signal_group(SIGCONT);
    if (next_signal_ == SIGTERM) arm(kKillAfter);
    next_signal_ = SIGKILL;
  }
}

void Child::signal_group(int signal) {
  if (!send_signal(pid_, pidfd_, 0)) return;  // reaped: its number may be somebody else's
  if (::kill(-pid_, signal) == 0) return;
  // ESRCH: it has not come to its setpgid yet, which ours has overtaken only on success.
  if (!send_signal(pid_, pidfd_, signal)) log::warn("kill", {{"child", component_.name}, {"error", errno_text(errno)}});
}

void Child::reaped(int wait_status) {
  last_exit_ = describe_exit(wait_status);
  const bool asked = state_ == ChildState::draining || state_ == ChildState::restarting;
  const int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
  const bool refused = code == proc::kExitConfig;
  const bool never_ran = code == kExecFailed && state_ == ChildState::starting &&
                         around_.board.read(component_.slot).pid != pid_;
  around_.board.bury(component_.slot, pid_);
  pid_ = 0;
  pidfd_.reset();
  due_.cancel();
  control_.reset();
  if (asked) {
    why_ = last_exit_ == "exit 0" ? "" : "ended with " + last_exit_ + " when asked to stop";
    on(ChildEvent::crashed);
  } else if (refused) {
    why_ = "exit 78: it refuses its configuration, see its log; tried again at reload, start or restart";
    on(ChildEvent::refused);
  } else if (never_ran) {
    delay_ = tally_.not_started().delay;
    why_ = "exit 127: cannot execute " + component_.command.front() + ", see the log; tried again in " +
           proc::format_duration(delay_);
    log::warn("died", {{"child", component_.name}, {"why", why_}});
    on(ChildEvent::spawn_failed);
  } else {
    const std::string killed = terminating_ ? why_ + ": " : "";
    const auto verdict = code == proc::kExitDatabase ? tally_.away() : tally_.died(Clock::now(), ready_since_);
    delay_ = verdict.delay;
    why_ = killed + last_exit_;
    if (verdict.throttled) why_ += "; throttled: died " + std::to_string(kMany) + " times within a minute";
    if (!verdict.at_once) why_ += "; started again in " + proc::format_duration(delay_);
    log::warn("died", {{"child", component_.name}, {"why", why_}});
    on(verdict.at_once ? ChildEvent::crashed_once : ChildEvent::crashed);
  }
}

void Child::watch() {
  if (pid_ == 0 || terminating_ || (state_ != ChildState::starting && state_ != ChildState::ready)) return;
  const proc::SlotView view = around_.board.read(component_.slot);
  // The one that was to follow this one is dead. What this one says counts again.
  if (view.former_pid == pid_ && view.pid != pid_ && view.state == proc::ProcState::absent) {
    around_.board.give_back(component_.slot, pid_);
  }
  const std::string why = hang();
  if (why.empty() || traced(pid_)) return;
  why_ = why;
  on(ChildEvent::hung);
}

// A database that is away is no reason to be killed: what counts is the heart, not readiness.
std::string Child::hang() const {
  const auto alive = duration_cast<milliseconds>(Clock::now() - started_at_);
  const proc::SlotView view = around_.board.read(component_.slot);
  // Another process is to follow this one: the beats are its beats. Soon one of the two has the slot alone.
  if (state_ == ChildState::ready && view.pid != pid_ && view.former_pid == pid_) return "";
  const bool buried = view.state == proc::ProcState::absent && view.pid != pid_;  // left by a former process
  const bool claimed = view.pid != 0 && view.uptime_ms <= alive.count() && !buried;
  if (state_ == ChildState::starting && !(claimed && view.beats > 0)) {
    if (alive <= around_.config.ready_timeout) return "";
    return "no sign of life within " + proc::format_duration(around_.config.ready_timeout);
  }
  // Ready without a slot: a program of a user who speaks the words, but does not beat. Not ours to judge.
  if (!claimed || milliseconds(view.heartbeat_age_ms) <= around_.config.hang_timeout) return "";
  return "no heartbeat for " + proc::format_duration(around_.config.hang_timeout);
}

bool Child::hears() const {
  const proc::SlotView view = around_.board.read(component_.slot);
  const auto fresh = [&](std::int64_t age_ms) { return milliseconds(age_ms) <= around_.config.hang_timeout; };
  if (pid_ == 0) return false;
  if (view.pid == pid_) return view.live && fresh(view.heartbeat_age_ms);
  return view.former_pid == pid_ && view.former_live && fresh(view.former_heartbeat_age_ms);
}

milliseconds Child::age() const { return duration_cast<milliseconds>(Clock::now() - started_at_); }

namespace {

// Moments of the monotonic clock, which is the same in the program that takes over.
std::int64_t number_of(std::chrono::steady_clock::time_point when) { return when.time_since_epoch().count(); }
std::chrono::steady_clock::time_point moment_of(const Json& number) {
  return std::chrono::steady_clock::time_point(std::chrono::steady_clock::duration(number.get<std::int64_t>()));
}

}  // namespace

Json Child::hand_over() const {
  const Tally::Record record = tally_.record();
  Json deaths = Json::array();
  for (const auto when : record.deaths) deaths.push_back(number_of(when));
  return {{"name", component_.name},
          {"kind", static_cast<int>(component_.kind)},
          {"command", component_.command},
          {"slot", component_.slot},
          {"version", component_.version},
          {"state", static_cast<int>(state_)},
          {"pid", pid_},
          {"control", control_ ? control_->fd() : -1},
          {"starts", starts_},
          {"last_exit", last_exit_},
          {"why", why_},
          {"trouble", trouble_},
          {"level", level_},
          {"limited", limited_},
          {"terminating", terminating_},
          {"next_signal", next_signal_},
          {"started_at", number_of(started_at_)},
          {"ready_since", ready_since_ ? Json(number_of(*ready_since_)) : Json(nullptr)},
          {"due_at", due_.armed() ? Json(number_of(due_at_)) : Json(nullptr)},
          {"deaths", std::move(deaths)},
          {"clean", record.clean},
          {"tries", record.tries},
          {"not_started", record.not_started}};
}

std::vector<int> Child::descriptors() const {
  if (!control_ || control_->fd() < 0) return {};
  return {control_->fd()};
}

Result<std::unique_ptr<Child>> Child::take_over(const Surroundings& around, const Json& handed) try {
  auto child = std::make_unique<Child>(
      around, Component{handed.at("name"), static_cast<Kind>(handed.at("kind").get<int>()),
                        handed.at("command").get<std::vector<std::string>>(), handed.at("slot").get<int>(),
                        handed.value("version", "")});
  child->state_ = static_cast<ChildState>(handed.at("state").get<int>());
  child->pid_ = handed.at("pid").get<int>();
  child->starts_ = handed.at("starts").get<int>();
  child->last_exit_ = handed.at("last_exit").get<std::string>();
  child->why_ = handed.at("why").get<std::string>();
  child->trouble_ = handed.value("trouble", "");
  child->level_ = handed.at("level").get<std::string>();
  child->limited_ = handed.at("limited").get<bool>();
  child->terminating_ = handed.at("terminating").get<bool>();
  child->next_signal_ = handed.at("next_signal").get<int>();
  child->started_at_ = moment_of(handed.at("started_at"));
  if (!handed.at("ready_since").is_null()) child->ready_since_ = moment_of(handed.at("ready_since"));
  Tally::Record record{{}, handed.at("clean").get<bool>(), handed.at("tries").get<int>(), handed.at("not_started").get<int>()};
  for (const Json& when : handed.at("deaths")) record.deaths.push_back(moment_of(when));
  child->tally_.take_over(record);
  if (child->pid_ != 0) child->pidfd_ = open_pidfd(child->pid_);  // ours until we reap it: dead or not, the number is its
  if (const int control = handed.at("control").get<int>(); control >= 0) child->listen_to(UniqueFd(control));
  if (!handed.at("due_at").is_null()) child->arm(moment_of(handed.at("due_at")) - Clock::now());
  return child;
} catch (const Json::exception& error) {
  return refuse(std::string("the handed over state of a child: ") + error.what());
}

ChildReport Child::report() const {
  const std::string state(status_word(state_));
  ChildReport report{component_.name, state, pid_, std::max(0, starts_ - 1), 0, last_exit_, why_};
  if (pid_ != 0) report.uptime_ms = duration_cast<milliseconds>(Clock::now() - started_at_).count();
  const bool works = around_.board.read(component_.slot).state != proc::ProcState::starting;
  if (state_ == ChildState::ready || state_ == ChildState::starting) {
    if (!trouble_.empty()) report.why = trouble_;
    else if (state_ == ChildState::ready && !works) report.why = "it lives, but cannot work at the moment";
  }
  return report;
}

}  // namespace romancy::supervisor
