// run_worker: a user's program becomes a resumer. The SDK's one entry into the engine.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "common/proc/inherited.hpp"
#include "common/proc/process.hpp"
#include "resumer/registry.hpp"
#include "resumer/resumer.hpp"
#include "romancy/worker.hpp"

namespace romancy {
namespace {

// What start_session() accepts (check_name): said here it is exit 78, and not a session that never begins.
bool is_version(const std::string& text) {
  return text.size() <= 255 &&
         std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

}  // namespace

int run_worker(int argc, char** argv, std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities,
               std::shared_ptr<Hooks> hooks) {
  return run_worker(argc, argv, std::move(workflows), std::move(activities), WorkerOptions{.hooks = std::move(hooks)});
}

// By value: it is called once, with lists written in place. NOLINTNEXTLINE(performance-unnecessary-value-param)
int run_worker(int argc, char** argv, std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities,
               WorkerOptions options) {
  // The operator's word: two versions may be one program, built twice.
  if (const char* named = std::getenv(proc::kEnvVersion); named != nullptr && *named != '\0') options.version = named;
  if (!is_version(options.version)) {
    std::fprintf(stderr, "worker: version: must be 1 to 255 bytes without control characters\n");
    return proc::kExitConfig;
  }
  auto registry = resumer::Registry::make(workflows, activities);
  if (!registry) {
    std::fprintf(stderr, "worker: %s\n", registry.error().text.c_str());
    return proc::kExitConfig;
  }
  return proc::run_process(argc, argv, {"worker", "runs the workflows this program was built with"},
                           [&registry, &options](proc::Process& process) -> std::unique_ptr<proc::Service> {
                             return std::make_unique<resumer::Resumer>(process, *registry, options.hooks, options.version);
                           });
}

}  // namespace romancy
