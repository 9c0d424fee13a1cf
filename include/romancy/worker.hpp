// worker: main() of a program that runs workflows.
//
//   int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {order}, {charge, refund}); }
//
// Takes `--config FILE` (or the environment variable ROMANCY_CONFIG), serves the given workflows until SIGTERM or
// SIGINT, and returns the exit code: 0 stopped as asked, 75 the database is away (only with --once), 78 the
// configuration, a name or a policy is wrong. Started by the supervisor or by hand, alone: without a supervisor and
// without a listener it works too, by polling. A workflow may only call activities that are listed here.
//
// version: of the code. A workflow stays with the version that began it, so two versions of a program may run side by
// side (docs/versions.md). The environment variable ROMANCY_WORKER_VERSION comes before what the program says. Without
// one any worker without a version, and any that has one, may go on with what this one began.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include <romancy/activity.hpp>
#include <romancy/hooks.hpp>
#include <romancy/workflow.hpp>

namespace romancy {

struct WorkerOptions {
  std::string version = {};            // 1 to 255 bytes without control characters; empty: none
  std::shared_ptr<Hooks> hooks = {};   // see hooks.hpp
};

int run_worker(int argc, char** argv, std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities,
               std::shared_ptr<Hooks> hooks = {});
int run_worker(int argc, char** argv, std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities,
               WorkerOptions options);

}  // namespace romancy
