#include "listener/listener.hpp"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/base/test_point.hpp"
#include "common/io/line_stream.hpp"
#include "common/proc/hub_wire.hpp"
#include "common/proc/inherited.hpp"

namespace romancy::listener {
namespace {

SessionOptions session_options(const proc::Config& config) {
  return {.conninfo = config.conninfo,
          .schema = config.schema,
          .connect_timeout = config.connect_timeout,
          .reconnect_delay = config.reconnect_delay,
          .reconnect_delay_max = config.reconnect_delay_max,
          .heartbeat_interval = config.heartbeat_interval,
          .heartbeat_timeout = config.heartbeat_timeout};
}

// The socket the supervisor made, so that subscribers may wait in it while we are restarted; else our own.
Result<UniqueFd> hub_socket(const proc::Config& config) {
  if (std::getenv(proc::kEnvHub) != nullptr) return UniqueFd(proc::kHubFd);
  if (::mkdir(config.runtime_dir.c_str(), 0750) != 0 && errno != EEXIST) {
    return refuse("make " + config.runtime_dir + ": " + errno_text(errno));
  }
  return io::listen_unix(config.hub_path());
}

// The group whose members may subscribe too, by name or by number.
Result<std::optional<gid_t>> hub_group(const proc::Config& config) {
  const std::string& text = config.hub_group;
  if (text.empty()) return std::nullopt;
  gid_t number = 0;
  if (const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
      wrong == std::errc() && end == text.data() + text.size()) {
    return number;
  }
  std::array<char, 65536> buffer;
  group entry{};
  group* found = nullptr;
  if (::getgrnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return refuse("listener.group: there is no group " + text);
  }
  return found->gr_gid;
}

// To connect one needs to reach the socket, and to be able to write to it.
void open_to(const proc::Config& config, gid_t group) {
  for (const std::string& path : {config.runtime_dir, config.hub_path()}) {
    if (::chown(path.c_str(), static_cast<uid_t>(-1), group) == 0) continue;
    log::warn("cannot be given to listener.group",
              {{"path", path}, {"group", config.hub_group}, {"error", errno_text(errno)}});
  }
}

}  // namespace

Listener::Listener(proc::Process& process)
    : process_(process),
      session_(process.loop(), session_options(process.config()),
               {.on_live = [this](bool first) { heard(first); },
                .on_down = [this](bool was_live, std::string_view why) { unheard(was_live, why); },
                .on_hint =
                    [this](std::string_view kind, std::string_view payload) {
                      if (hub_) hub_->notification(kind, payload);
                    }},
               process.slot()) {}

void Listener::start() {
  if (!process_.once()) {
    const auto& config = process_.config();
    const auto group = hub_group(config);
    auto socket = group ? hub_socket(config) : Result<UniqueFd>(tl::unexpected(group.error()));
    if (!socket) {
      log::error("hub cannot be served", {{"error", socket.error().text}});
      return process_.finish(socket.error().kind == ErrorKind::refuse ? proc::kExitConfig : EXIT_FAILURE);
    }
    if (*group) open_to(config, **group);
    hub_.emplace(process_.loop(), std::move(*socket),
                 HubOptions{.max_subscribers = config.max_subscribers,
                            .patience = {},
                            .group = *group,
                            .hints_matter = config.fallback_interval * 6 / 5},
                 process_.slot());
    process_.ready();
  }
  listen();
}

void Listener::drain(std::function<void()> done) {
  session_.stop();
  hub_.reset();
  done();
}

void Listener::listen() {
  const auto& config = process_.config();
  if (config.listener == proc::Listening::off) {
    log::info("PostgreSQL LISTEN/NOTIFY disabled: listener.enabled = false");
    if (process_.once()) process_.finish(proc::kExitOk);
    return;
  }
  log::info("PostgreSQL LISTEN/NOTIFY configured",
            {{"fallback_interval", proc::format_duration(config.fallback_interval)},
             {"reconnect_delay", proc::format_duration(config.reconnect_delay)},
             {"reconnect_delay_max", proc::format_duration(config.reconnect_delay_max)}});
  session_.start();
}

void Listener::heard(bool first) {
  if (process_.once()) return process_.finish(proc::kExitOk);
  static_cast<void>(ROMANCY_TEST_POINT("listener.resync.before"));
  process_.trouble("");
  hub_->live(true);
  hub_->resync(first ? proc::ResyncWhy::listener : proc::ResyncWhy::gap);
  static_cast<void>(ROMANCY_TEST_POINT("listener.resync.after"));  // both leave together, at the turn's end
}

void Listener::unheard(bool was_live, std::string_view why) {
  if (process_.once()) return process_.finish(proc::kExitDatabase);
  if (was_live) hub_->live(false);
  process_.trouble("hears no notifications: " + std::string(why));
}

}  // namespace romancy::listener
