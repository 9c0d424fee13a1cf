// romancy-supervisor: the parent of all others. Peers: its children (pipes and signals), operators (control socket),
// systemd (sd_notify). Rights: the runtime directory; no database at all.
#include <getopt.h>
#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"
#include "common/proc/config.hpp"
#include "common/proc/inherited.hpp"
#include "supervisor/check.hpp"
#include "supervisor/handover.hpp"
#include "supervisor/spawn.hpp"
#include "supervisor/supervisor.hpp"

namespace {

using namespace romancy;

// Absolute, because children get it and may be anywhere.
std::string absolute(const std::string& given) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(given.c_str(), nullptr), std::free);
  return resolved ? resolved.get() : given;
}

struct Read {
  proc::Config config;
  std::string text;
};

// The file at `path`, by the name of `name`.
Result<Read> read(const std::string& path, const std::string& name) {
  if (path.empty()) return Read{proc::default_config(), ""};
  auto text = proc::read_config(path);
  if (!text) return tl::unexpected(text.error());
  auto config = proc::parse_config(*text, name);
  if (!config) return tl::unexpected(config.error());
  return Read{std::move(*config), std::move(*text)};
}

int handover_fd() {
  const char* fd = std::getenv(supervisor::kEnvHandover);
  return fd ? std::atoi(fd) : -1;
}

// --check: is this configuration right, and (as the program of an upgrade) could we take over? Says so on stdout.
int check(const std::string& path, const std::string& name) {
  const auto config = read(path, name.empty() ? path : name);
  if (!config) {
    std::printf("%s\n", config.error().text.c_str());
    return proc::kExitConfig;
  }
  if (handover_fd() >= 0) {
    if (const auto state = supervisor::read_handover(handover_fd()); !state) {
      std::printf("%s\n", state.error().text.c_str());
      return proc::kExitConfig;
    }
  }
  std::printf("%s\n", supervisor::kFits);
  return proc::kExitOk;
}

int take_over() {
  const UniqueFd fd(handover_fd());
  // The supervisor has one thread. NOLINTNEXTLINE(concurrency-mt-unsafe)
  ::unsetenv(supervisor::kEnvHandover);
  const auto handed = supervisor::read_handover(fd.get());
  if (!handed) {
    log::error("cannot take over", {{"error", handed.error().text}});
    return 1;
  }
  auto config = read((*handed)["in_effect"].get<std::string>(), (*handed)["path"].get<std::string>());
  if (!config) {
    log::error("cannot take over", {{"error", config.error().text}});
    return 1;
  }
  log::set_up("supervisor", config->config.log_level);
  log::info("taking over", {{"version", ROMANCY_VERSION}});
  const auto supervisor = supervisor::Supervisor::take_over(std::move(config->config), *handed);
  if (!supervisor) {
    log::error("cannot take over", {{"error", supervisor.error().text}});
    return 1;
  }
  return (*supervisor)->run();
}

int run(const std::string& path) {
  auto config = read(path, path);
  if (!config) {
    log::error("configuration refused", {{"error", config.error().text}});
    return proc::kExitConfig;
  }
  log::set_up("supervisor", config->config.log_level);
  log::info("starting", {{"version", ROMANCY_VERSION}, {"config", path.empty() ? "defaults" : path}});
  const auto supervisor = supervisor::Supervisor::create(std::move(config->config), config->text);
  if (!supervisor) {
    log::error("cannot start", {{"error", supervisor.error().text}});
    return 1;
  }
  return (*supervisor)->run();
}

}  // namespace

int main(int argc, char** argv) {
  const option options[] = {{"config", required_argument, nullptr, 'c'},
                            {"check", no_argument, nullptr, 'k'},
                            {"named", required_argument, nullptr, 'n'},
                            {"help", no_argument, nullptr, 'h'},
                            {"version", no_argument, nullptr, 'v'},
                            {nullptr, 0, nullptr, 0}};
  const char* named = std::getenv(proc::kEnvConfig);
  std::string path = named ? named : "", name;
  bool only_check = false;
  // No thread has been started yet. NOLINTNEXTLINE(concurrency-mt-unsafe)
  for (int choice = 0; (choice = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (choice) {
      case 'c': path = ::optarg; break;
      case 'k': only_check = true; break;
      case 'n': name = ::optarg; break;
      case 'h':
        std::printf("usage: %s [--config FILE] [--check]\nStarts, watches, restarts and stops the processes of romancyd.\n"
                    "  --check  only say whether the configuration is right\n\n%s",
                    argv[0], proc::config_help().c_str());
        return proc::kExitOk;
      case 'v': std::printf("romancy supervisor %s\n", ROMANCY_VERSION); return proc::kExitOk;
      default: return proc::kExitUsage;  // getopt_long has said why
    }
  }
  if (::optind < argc) {
    std::fprintf(stderr, "%s: %s: unexpected argument\n", argv[0], argv[::optind]);
    return proc::kExitUsage;
  }
  log::set_up("supervisor", log::Level::info);
  if (only_check) return check(path, name);
  if (handover_fd() >= 0) return take_over();
  return run(absolute(path));
}
