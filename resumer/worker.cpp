// run_worker: a user's program becomes a resumer. The SDK's one entry into the engine.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "common/proc/inherited.hpp"
#include "common/proc/process.hpp"
#include "resumer/registry.hpp"
#include "resumer/resumer.hpp"
#include "romancy/worker.hpp"

namespace romancy {

// By value: it is called once, with lists written in place. NOLINTNEXTLINE(performance-unnecessary-value-param)
int run_worker(int argc, char** argv, std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities,
               std::shared_ptr<Hooks> hooks) {
  auto registry = resumer::Registry::make(workflows, activities);
  if (!registry) {
    std::fprintf(stderr, "worker: %s\n", registry.error().text.c_str());
    return proc::kExitConfig;
  }
  return proc::run_process(argc, argv, {"worker", "runs the workflows this program was built with"},
                           [&registry, &hooks](proc::Process& process) -> std::unique_ptr<proc::Service> {
                             return std::make_unique<resumer::Resumer>(process, *registry, hooks);
                           });
}

}  // namespace romancy
