// romancy-supervisor: the parent of all others. Peers: its children (pipes and signals), operators (control socket),
// systemd (sd_notify). Rights: the runtime directory; no database at all.
#include <getopt.h>
#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/base/log.hpp"
#include "common/proc/config.hpp"
#include "common/proc/inherited.hpp"
#include "supervisor/supervisor.hpp"

namespace {

using namespace romancy;

int run(const std::string& given) {
  log::set_up("supervisor", log::Level::info);
  // Absolute, because children get it and may be anywhere.
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(given.c_str(), nullptr), std::free);
  const std::string path = resolved ? resolved.get() : given;
  auto config = path.empty() ? Result<proc::Config>(proc::default_config()) : proc::load_config(path);
  if (!config) {
    log::error("configuration refused", {{"error", config.error().text}});
    return proc::kExitConfig;
  }
  log::set_up("supervisor", config->log_level);
  log::info("starting", {{"version", ROMANCY_VERSION}, {"config", given.empty() ? "defaults" : config->path}});
  const auto supervisor = supervisor::Supervisor::create(std::move(*config));
  if (!supervisor) {
    log::error("cannot start", {{"error", supervisor.error().text}});
    return 1;
  }
  return (*supervisor)->run();
}

}  // namespace

int main(int argc, char** argv) {
  const option options[] = {{"config", required_argument, nullptr, 'c'},
                            {"help", no_argument, nullptr, 'h'},
                            {"version", no_argument, nullptr, 'v'},
                            {nullptr, 0, nullptr, 0}};
  const char* named = std::getenv(proc::kEnvConfig);
  std::string path = named ? named : "";
  // No thread has been started yet. NOLINTNEXTLINE(concurrency-mt-unsafe)
  for (int choice = 0; (choice = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (choice) {
      case 'c': path = ::optarg; break;
      case 'h':
        std::printf("usage: %s [--config FILE]\nStarts, watches, restarts and stops the processes of romancyd.\n\n%s",
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
  return run(path);
}
