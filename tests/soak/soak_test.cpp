// `./dev test --soak 10m [--seed N]`, and a smoke of it in the default lane.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/soak/soak.hpp"

namespace romancy::soak {
namespace {

void tell(const SoakOptions& options, const Report& report) {
  std::fprintf(stderr, "soak: seed %llu: %d programs, %lld instances, %lld events, %d samples of the invariants, the longest program %lld ms\n",
               static_cast<unsigned long long>(options.seed), report.programs, static_cast<long long>(report.instances),
               static_cast<long long>(report.events), report.samples, static_cast<long long>(report.longest_ms));
  for (const auto* counts : {&report.covered, &report.blows}) {
    std::string line;
    for (const auto& [what, times] : *counts) line += (line.empty() ? "" : ", ") + what + " " + std::to_string(times);
    std::fprintf(stderr, "soak: %s\n", line.c_str());
  }
}

Report soaked(const SoakOptions& options) {
  Report report = run(options);
  tell(options, report);
  for (const std::string& violation : report.violations) ADD_FAILURE() << violation;
  return report;
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::strtoull(value, nullptr, 10) : otherwise;
}

TEST(SoakSmoke, RandomProgramsUnderRandomBlows) {
  const Report report = soaked({.seed = from_environment("ROMANCY_SOAK_SEED", 1), .length = std::chrono::seconds(20), .at_once = 15, .most = 60});
  EXPECT_GT(report.instances, 0);
}

TEST(Soak, RandomProgramsUnderRandomBlows) {
  const auto seconds = static_cast<std::int64_t>(from_environment("ROMANCY_SOAK_SECONDS", 600));
  SoakOptions options{.seed = from_environment("ROMANCY_SOAK_SEED", std::random_device{}()), .length = std::chrono::seconds(seconds)};
  options.at_once = static_cast<int>(from_environment("ROMANCY_SOAK_AT_ONCE", 30));
  const Report report = soaked(options);
  if (seconds < 300) return;  // too short to have seen everything
  for (const std::string& kind : all_kinds()) EXPECT_TRUE(report.covered.contains(kind)) << kind << " never occurred";
}

}  // namespace
}  // namespace romancy::soak
