// The configuration file: read whole, or refused with a place and a reason.
#include "common/proc/config.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace romancy;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = proc::parse_config(fuzz::text(data, size), "fuzz.toml");
  if (!config) {
    require(!config.error().text.empty(), "a refusal says why");
    for (const char c : config.error().text) require(c != '\0', "and can be logged");
    return 0;
  }
  require(config->schema.size() <= 44 && !config->schema.empty(), "a schema's name fits");
  require(config->runtime_dir.size() <= 94 && config->runtime_dir.starts_with("/"), "sockets fit into their directory's path");
  require(config->session_timeout.count() >= 1000, "a session lives for a second at least");
  for (const auto& resumer : config->resumers) require(!resumer.command.empty() && resumer.processes >= 1 && resumer.processes <= 32, "a resumer can be started");
  return 0;
}
