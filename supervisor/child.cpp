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

void Child::restart() {
  tally_.forgive();
  on(ChildEvent::restart);
}

void Child::kill() {
  if (pid_ != 0) signal_group(SIGKILL);
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
    case ChildEffect::wait: due_.set_in(delay_); return;
    case ChildEffect::drain: drain_it(); return;
    case ChildEffect::terminate: terminate_it(); return;
    case ChildEffect::forget: due_.cancel(); return;
  }
}

void Child::spawn_it() {
  due_.cancel();
  why_.clear();
  const auto failed = [&](const std::string& text) {
    const auto verdict = tally_.died(Clock::now(), std::nullopt);
    delay_ = verdict.delay;
    why_ = text + (verdict.throttled ? "; throttled" : "");
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
  program.control_fd = theirs.get();
  program.board_fd = around_.board.fd();
  if (component_.kind == Kind::listener && around_.hub_fd >= 0) {
    program.hub_fd = around_.hub_fd;
    set(proc::kEnvHub, "1");
  }
  started_at_ = Clock::now();
  const auto pid = spawn(program);
  if (!pid) {
    failed(pid.error().text);
    return;
  }
  pid_ = *pid;
  ++starts_;
  terminating_ = false;
  log::info("started", {{"child", component_.name}, {"pid", pid_}});
  io::LineStream::Handlers handlers;
  handlers.on_line = [this](std::string_view word) { on_word(word); };
  handlers.on_close = [](std::string_view) {};  // its death is told by the kernel
  control_ = std::make_unique<io::LineStream>(around_.loop, std::move(ours), io::LineCaps{}, std::move(handlers));
}

void Child::on_word(std::string_view word) {
  if (word == proc::kWordReady) on(ChildEvent::ready);
  else log::warn("unknown word from a child", {{"child", component_.name}, {"word", word.substr(0, 80)}});
}

void Child::drain_it() {
  if (terminating_) return;  // SIGKILL is near
  const bool told = control_ && control_->send(proc::kWordDrain);
  next_signal_ = SIGTERM;
  due_.set_in(told ? std::chrono::nanoseconds(around_.config.stop_timeout) : std::chrono::nanoseconds(0));
}

void Child::terminate_it() {
  if (terminating_) return;
  terminating_ = true;
  log::warn("killed", {{"child", component_.name}, {"pid", pid_}, {"why", why_}});
  if (::kill(pid_, SIGABRT) != 0) log::warn("kill", {{"child", component_.name}, {"error", errno_text(errno)}});
  signal_group(SIGCONT);  // a stopped process dies of nothing but SIGKILL
  next_signal_ = SIGKILL;
  due_.set_in(kKillAfter);
}

void Child::on_due() {
  if (state_ == ChildState::backoff) {
    on(ChildEvent::delay_over);
  } else if (pid_ != 0) {
    log::warn("signalled", {{"child", component_.name}, {"pid", pid_}, {"signal", next_signal_}});
    signal_group(next_signal_);
    signal_group(SIGCONT);
    if (next_signal_ == SIGTERM) due_.set_in(kKillAfter);
    next_signal_ = SIGKILL;
  }
}

void Child::signal_group(int signal) {
  if (::kill(-pid_, signal) == 0) return;
  // ESRCH: it has not come to its setpgid yet, which ours has overtaken only on success.
  if (::kill(pid_, signal) != 0) log::warn("kill", {{"child", component_.name}, {"error", errno_text(errno)}});
}

void Child::reaped(int wait_status) {
  last_exit_ = describe_exit(wait_status);
  const bool asked = state_ == ChildState::draining || state_ == ChildState::restarting;
  const bool refused = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == proc::kExitConfig;
  pid_ = 0;
  due_.cancel();
  control_.reset();
  if (asked) {
    why_ = last_exit_ == "exit 0" ? "" : "ended with " + last_exit_ + " when asked to stop";
    on(ChildEvent::crashed);
  } else if (refused) {
    why_ = "exit 78: it refuses its configuration, see its log; start it again with restart";
    on(ChildEvent::refused);
  } else {
    const std::string killed = terminating_ ? why_ + ": " : "";
    const auto verdict = tally_.died(Clock::now(), ready_since_);
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
  const std::string why = hang();
  if (why.empty() || traced(pid_)) return;
  why_ = why;
  on(ChildEvent::hung);
}

// A database that is away is no reason to be killed: what counts is the heart, not readiness.
std::string Child::hang() const {
  const auto alive = duration_cast<milliseconds>(Clock::now() - started_at_);
  const proc::SlotView view = around_.board.read(component_.slot);
  const bool claimed = view.pid != 0 && view.uptime_ms <= alive.count();  // else: left by a former process
  if (state_ == ChildState::starting && !(claimed && view.beats > 0)) {
    if (alive <= around_.config.ready_timeout) return "";
    return "no sign of life within " + proc::format_duration(around_.config.ready_timeout);
  }
  // Ready without a slot: a program of a user who speaks the words, but does not beat. Not ours to judge.
  if (!claimed || milliseconds(view.heartbeat_age_ms) <= around_.config.hang_timeout) return "";
  return "no heartbeat for " + proc::format_duration(around_.config.hang_timeout);
}

ChildReport Child::report() const {
  const std::string state(status_word(state_));
  ChildReport report{component_.name, state, pid_, std::max(0, starts_ - 1), 0, last_exit_, why_};
  if (pid_ != 0) report.uptime_ms = duration_cast<milliseconds>(Clock::now() - started_at_).count();
  const auto told = around_.board.read(component_.slot).state;
  if (state_ == ChildState::ready && told == proc::ProcState::starting)
    report.why = "it lives, but cannot work at the moment";  // the database is away, say: its log tells
  return report;
}

}  // namespace romancy::supervisor
