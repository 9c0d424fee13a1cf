#include "listener/listener.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/base/log.hpp"
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
    return refuse("make " + config.runtime_dir + ": " + std::strerror(errno));
  }
  return io::listen_unix(config.hub_path());
}

}  // namespace

Listener::Listener(proc::Process& process)
    : process_(process),
      session_(process.loop(), session_options(process.config()),
               {.on_live = [this](bool first) { heard(first); },
                .on_down = [this](bool was_live) { unheard(was_live); },
                .on_hint =
                    [this](std::string_view kind, std::string_view payload) {
                      if (hub_) hub_->notification(kind, payload);
                    }},
               process.slot()) {}

void Listener::start() {
  if (!process_.once()) {
    auto socket = hub_socket(process_.config());
    if (!socket) {
      log::error("hub cannot be served", {{"error", socket.error().text}});
      return process_.finish(socket.error().kind == ErrorKind::refuse ? proc::kExitConfig : EXIT_FAILURE);
    }
    hub_.emplace(process_.loop(), std::move(*socket),
                 HubOptions{.max_subscribers = process_.config().max_subscribers, .patience = {}}, process_.slot());
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
  hub_->live(true);
  hub_->resync(first ? proc::ResyncWhy::listener : proc::ResyncWhy::gap);
}

void Listener::unheard(bool was_live) {
  if (process_.once()) return process_.finish(proc::kExitDatabase);
  if (was_live) hub_->live(false);
}

}  // namespace romancy::listener
