// Upgrade: another program in our place. See supervisor.hpp, handover.hpp, rollout.hpp.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/proc/inherited.hpp"
#include "supervisor/handover.hpp"
#include "supervisor/notify.hpp"
#include "supervisor/plan.hpp"
#include "supervisor/rollout.hpp"
#include "supervisor/supervisor.hpp"

namespace romancy::supervisor {

void Supervisor::upgrade(Control::Reply reply) {
  const auto refuse_it = [&](const std::string& why) {
    log::error("upgrade refused, nothing has changed", {{"error", why}});
    note_ = "upgrade refused: " + why;
    reply(Control::refused(why));
  };
  if (stopping_) return refuse_it("the supervisor is stopping");
  if (migration_ && !migration_->done()) return refuse_it("waiting for the migration of the database");
  if (check_) return refuse_it("a reload or an upgrade is being tried");
  if (rolling_) return refuse_it("an upgrade is under way");
  const auto state = write_handover(hand_over());
  if (!state) return refuse_it(state.error().text);
  log::info("upgrading", {{"program", program_}});
  notify_reloading();
  askers_.push_back(std::move(reply));
  check_ = std::make_unique<Check>(loop_, [this](const Result<void>& checked) {
    check_.reset();
    const bool fits = checked.has_value() && !stopping_;
    if (!fits) {
      const std::string why = stopping_ ? "the supervisor is stopping" : checked.error().text;
      log::error("upgrade refused, nothing has changed", {{"error", why}});
      note_ = "upgrade refused: " + why;
      notify("READY=1");
      for (const auto& asker : std::exchange(askers_, {})) asker(Control::refused(why));
      if (std::exchange(reload_again_, false)) reload([](const Json&) {});
      return;
    }
    for (const auto& asker : std::exchange(askers_, {})) asker({{"ok", true}});
    soon_.set_in(std::chrono::nanoseconds(0));  // the next turn: what was said above has left by then
  });
  Program program;
  program.command = {program_, "--check"};
  if (!around_.in_effect.empty()) {
    program.command.insert(program.command.end(), {"--config", around_.in_effect, "--named", config_.path});
  }
  program.environment = plain_environment();
  program.board_fd = state->get();
  program.environment.push_back(std::string(kEnvHandover) + "=" + std::to_string(proc::kBoardFd));
  check_->start(std::move(program));
}

Json Supervisor::hand_over() const {
  Json children = Json::array(), leaving = Json::array();
  for (const auto& child : children_) children.push_back(child->hand_over());
  for (const auto& child : leaving_) leaving.push_back(child->hand_over());
  return {{"version", kHandoverVersion},
          {"path", config_.path},
          {"in_effect", around_.in_effect},
          {"lock", lock_.get()},
          {"board", board_.fd()},
          {"hub", hub_.get()},
          {"control", control_fd_},
          {"started_at", started_at_.time_since_epoch().count()},
          {"level", level_},
          {"children", std::move(children)},
          {"leaving", std::move(leaving)}};
}

// Comes back only when the kernel refuses.
void Supervisor::execute() {
  if (stopping_) return;
  const auto state = write_handover(hand_over());
  if (!state) return log::error("upgrade refused, nothing has changed", {{"error", state.error().text}});
  std::vector<int> kept = {state->get(), lock_.get(), board_.fd(), control_fd_};
  if (hub_) kept.push_back(hub_.get());
  for (Child* child : everybody()) {
    for (const int fd : child->descriptors()) kept.push_back(fd);
  }
  for (const int fd : kept) keep_over_exec(fd, true);
  std::vector<std::string> command = {program_};
  if (!config_.path.empty()) command.insert(command.end(), {"--config", config_.path});
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  // The supervisor has one thread. NOLINTNEXTLINE(concurrency-mt-unsafe)
  ::setenv(kEnvHandover, std::to_string(state->get()).c_str(), 1);
  // Until the other program has handlers, a signal would do what it does to a program without any.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ::execve(argv[0], argv.data(), environ);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // The supervisor has one thread. NOLINTNEXTLINE(concurrency-mt-unsafe)
  ::unsetenv(kEnvHandover);
  for (const int fd : kept) keep_over_exec(fd, false);
  note_ = std::string("upgrade refused: ") + errno_text(error);
  log::error("upgrade refused, nothing has changed", {{"error", errno_text(error)}});
  notify("READY=1");
}

Result<std::unique_ptr<Supervisor>> Supervisor::take_over(proc::Config config, const Json& handed) {
  const auto take = [&](const char* name) {
    UniqueFd fd(handed.at(name).get<int>());
    if (fd) keep_over_exec(fd.get(), false);
    return fd;
  };
  Owned owned{take("lock"), take("hub"), take("control"), proc::Board::private_one(), handed.at("in_effect").get<std::string>()};
  auto board = proc::Board::adopt(take("board"));
  if (!board) {  // another layout: the children are replaced one by one, and none is left that writes into the old one
    log::warn("the status board begins anew", {{"why", board.error().text}});
    board = proc::Board::create(config.board_path());
    if (!board) return tl::unexpected(board.error());
  }
  owned.board = std::move(*board);
  std::unique_ptr<Supervisor> supervisor(new Supervisor(std::move(config), std::move(owned)));
  supervisor->taken_over_ = true;
  supervisor->started_at_ = Clock::time_point(Clock::duration(handed.at("started_at").get<std::int64_t>()));
  supervisor->level_ = handed.at("level").get<std::string>();
  if (const auto level = proc::parse_level(supervisor->level_)) log::set_up("supervisor", *level);
  for (auto* list : {&supervisor->children_, &supervisor->leaving_}) {
    for (const Json& one : handed.at(list == &supervisor->children_ ? "children" : "leaving")) {
      auto child = Child::take_over(supervisor->around_, one);
      if (!child) return tl::unexpected(child.error());
      for (const int fd : (*child)->descriptors()) keep_over_exec(fd, false);
      list->push_back(std::move(*child));
    }
  }
  return supervisor;
}

// What this program plans may differ from what the former one did, also by what it calls its own.
void Supervisor::begin_rollout() {
  log::info("took over", {{"children", children_.size()}});
  for (const auto& child : children_) {
    if (child->pid() != 0) to_replace_.push_back(child->component().name);
  }
  apply(proc::Config(config_));
  rolling_ = true;
  note_ = "an upgrade is under way";
  roll();
}

void Supervisor::roll() {
  if (!rolling_ || stopping_) return;
  if (replacing_.empty()) {
    if (to_replace_.empty()) return end_rollout("");
    replacing_ = to_replace_.front();
    to_replace_.pop_front();
    const auto found = find(replacing_);
    if (found.empty()) return replacing_.clear();
    Child& old = *found.front();
    replaced_pid_ = old.pid();
    if (old.component().kind == Kind::listener && old.state() == ChildState::ready) {
      arriving_ = std::make_unique<Child>(around_, old.component());
      arriving_->follows(old);
      arriving_->start();
    } else if (!old.gone()) {
      old.restart();
    }
    return;
  }
  const auto found = find(replacing_);
  Child* fresh = arriving_ ? arriving_.get() : found.empty() ? nullptr : found.front();
  Replacement replacement;
  if (fresh) {
    const auto view = board_.read(fresh->component().slot);
    replacement = {.state = fresh->state(),
                   .is_new = fresh->pid() != 0 && fresh->pid() != replaced_pid_,
                   .age = fresh->age(),
                   .must_hear = arriving_ != nullptr,
                   .hears = view.pid == fresh->pid() && view.live,
                   .former_hears = arriving_ && !found.empty() && found.front()->hears()};
  }
  switch (judge(replacement, config_.ready_timeout)) {
    case Standing::wait: return;
    case Standing::halt: {
      const std::string why = fresh ? fresh->report().why : "it is gone";
      const std::string trouble = replacing_ + ": " + (why.empty() ? "it does not hear PostgreSQL, and the former one does" : why);
      if (arriving_) {
        arriving_->stop();
        leaving_.push_back(std::move(arriving_));
      }
      return end_rollout(trouble);
    }
    case Standing::settled:
      if (arriving_ && !found.empty()) {
        const auto old = std::find_if(children_.begin(), children_.end(), [&](const auto& c) { return c.get() == found.front(); });
        std::swap(*old, arriving_);
        arriving_->stop();
        leaving_.push_back(std::move(arriving_));
      }
      log::info("replaced", {{"child", replacing_}});
      replacing_.clear();
      return roll();
  }
}

void Supervisor::end_rollout(const std::string& trouble) {
  rolling_ = false;
  to_replace_.clear();
  replacing_.clear();
  if (trouble.empty()) {
    note_.clear();
    log::info("upgraded");
  } else {
    note_ = "upgrade halted: " + trouble;
    log::error("upgrade halted, the others work on as they are", {{"why", trouble}});
  }
  notify("READY=1\nMAINPID=" + std::to_string(::getpid()));
  loop_.post([this] { go_on_stopping(); });
}

}  // namespace romancy::supervisor
