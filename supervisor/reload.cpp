// Reload: another configuration without another supervisor. See supervisor.hpp.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/base/errno_text.hpp"
#include "common/proc/config_change.hpp"
#include "supervisor/notify.hpp"
#include "supervisor/plan.hpp"
#include "supervisor/runtime_dir.hpp"
#include "supervisor/supervisor.hpp"

namespace romancy::supervisor {
namespace {

unsigned reader_of(Kind kind) {
  switch (kind) {
    case Kind::listener: return proc::kReadByListener;
    case Kind::timer: return proc::kReadByTimer;
    case Kind::relay: return proc::kReadByRelay;
    case Kind::resumer: return proc::kReadByResumer;
  }
  return proc::kReadByAll;
}

}  // namespace

void Supervisor::reload(Control::Reply reply) {
  if (stopping_) return reply(Control::refused("the supervisor is stopping"));
  if (migration_ && !migration_->done()) return reply(Control::refused("waiting for the migration of the database"));
  if (config_.path.empty()) return reply(Control::refused("there is no configuration file: all values are defaults"));
  if (rolling_) return reply(Control::refused("an upgrade is under way"));
  if (check_) {
    reload_again_ = true;  // the file may have changed since it was read
    return reply(Control::refused("a reload or an upgrade is being tried; it is read again after that"));
  }
  log::info("reloading", {{"config", config_.path}});
  notify_reloading();
  askers_.push_back(std::move(reply));
  // Read once: what is tried is what is used, whatever the file says a moment later.
  const auto text = proc::read_config(config_.path);
  if (!text) return end_reload(Control::refused(text.error().text));
  const std::string fresh = around_.in_effect + ".new";
  if (auto written = write_private(fresh, *text); !written) return end_reload(Control::refused(written.error().text));
  check_ = std::make_unique<Check>(loop_, [this, text = *text](const Result<void>& checked) { reloaded(checked, text); });
  Program program;
  program.command = {"/proc/self/exe", "--check", "--config", fresh, "--named", config_.path};
  program.environment = plain_environment();
  check_->start(std::move(program));
}

void Supervisor::reloaded(const Result<void>& checked, const std::string& text) {
  check_.reset();
  const std::string fresh = around_.in_effect + ".new";
  const auto refuse_it = [&](const std::string& why) {
    ::unlink(fresh.c_str());
    end_reload(Control::refused(why));
  };
  if (stopping_) return refuse_it("the supervisor is stopping");
  if (!checked) return refuse_it(checked.error().text);
  const auto after = proc::parse_config(text, config_.path);
  if (!after) return refuse_it(after.error().text);
  for (const auto& change : proc::config_changes(config_, *after)) {
    if (change.readers == proc::kNeedsRestart) {
      return refuse_it(config_.path + ": " + change.key + ": cannot be changed by a reload, only by a restart of the supervisor");
    }
  }
  if (after->listener != proc::Listening::off && !hub_) {
    auto hub = take_socket(after->hub_path());
    if (!hub) return refuse_it(hub.error().text);
    hub_ = std::move(*hub);
  }
  if (::rename(fresh.c_str(), around_.in_effect.c_str()) != 0) {
    return refuse_it("rename " + fresh + ": " + errno_text(errno));
  }
  end_reload(apply(*after));
}

// Everything that can be refused has been.
Json Supervisor::apply(const proc::Config& after) {
  const auto changes = proc::config_changes(config_, after);
  unsigned readers = 0;
  for (const auto& change : changes) {
    log::info("changed", {{"key", change.key}});
    readers |= change.readers;
  }
  config_ = after;
  around_.hub_fd = hub_.get();
  if (level_.empty()) log::set_up("supervisor", config_.log_level);
  Json started = Json::array(), stopped = Json::array(), restarted = Json::array();
  auto components = planned();
  std::vector<std::unique_ptr<Child>> next;
  for (Component& component : components) {
    const auto same = [&](const auto& child) { return child->component().name == component.name; };
    auto found = std::find_if(children_.begin(), children_.end(), same);
    auto left = std::find_if(leaving_.begin(), leaving_.end(), same);
    if (found != children_.end()) {
      Child& child = **found;
      const bool other = (readers & reader_of(component.kind)) != 0 || child.component().command != component.command ||
                         child.component().version != component.version;
      const std::string name = component.name;
      child.change(std::move(component));
      child.reloaded();
      // One that an operator has stopped stays stopped; a held one tries again whatever has changed.
      if (!child.gone() && (other || child.state() == ChildState::held)) {
        child.restart();
        restarted.push_back(name);
      }
      next.push_back(std::move(*found));
      children_.erase(found);
    } else if (left != leaving_.end()) {
      (*left)->change(component);
      (*left)->restart();
      started.push_back(component.name);
      next.push_back(std::move(*left));
      leaving_.erase(left);
    } else {
      started.push_back(component.name);
      next.push_back(std::make_unique<Child>(around_, std::move(component)));
      next.back()->start();
    }
  }
  for (auto& child : children_) {
    stopped.push_back(child->component().name);
    child->stop();
    leaving_.push_back(std::move(child));
  }
  children_ = std::move(next);
  if (config_.listener == proc::Listening::off && hub_) {
    ::unlink(config_.hub_path().c_str());
    hub_.reset();
    around_.hub_fd = -1;
  }
  loop_.post([this] { go_on_stopping(); });  // forgets those that are gone already
  Json keys = Json::array();
  for (const auto& change : changes) keys.push_back(change.key);
  return {{"ok", true}, {"changed", keys}, {"started", started}, {"stopped", stopped}, {"restarted", restarted}};
}

void Supervisor::end_reload(const Json& answer) {
  const bool accepted = answer["ok"].get<bool>();
  if (accepted) {
    note_.clear();
    log::info("reloaded", {{"restarted", answer["restarted"].size()},
                           {"started", answer["started"].size()},
                           {"stopped", answer["stopped"].size()}});
  } else {
    note_ = "reload refused: " + answer["error"].get<std::string>();
    log::error("reload refused, nothing has changed", {{"error", answer["error"].get<std::string>()}});
  }
  notify("READY=1");
  for (const auto& asker : std::exchange(askers_, {})) asker(answer);
  if (std::exchange(reload_again_, false)) reload([](const Json&) {});
}

}  // namespace romancy::supervisor
