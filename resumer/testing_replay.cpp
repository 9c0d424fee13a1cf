// Histories that were recorded, against the code of today.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "resumer/run_core.hpp"
#include "resumer/testing_history.hpp"

namespace romancy::testing {
namespace {

Replay wrong(Replay replay, const std::string& what) {
  replay.ok = false;
  replay.text = what;
  return replay;
}

Result<std::string> contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) return refuse("the file cannot be read");
  return text;
}

}  // namespace

Replay replay_text(std::string_view json, const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities,
                   const std::string& source) {
  Replay replay;
  replay.source = source;
  const auto registry = resumer::Registry::make(workflows, activities);
  if (!registry) throw Failure("replay: " + registry.error().text);
  const auto history = read_history(json);
  if (!history) return wrong(replay, history.error().text);
  replay.instance_id = history->instance_id;
  replay.workflow = history->workflow;
  const WorkflowRef* workflow = registry->workflow(history->workflow);
  if (workflow == nullptr) return wrong(replay, "workflow: '" + history->workflow + "' is not among those that were given");
  const auto rows = rows_of(*history);
  resumer::RunCore run(*registry, *workflow, {history->instance_id, history->workflow, history->generation, history->first_generation});
  if (const auto told = run.replay(rows); !told) {
    const auto& difference = run.tape().difference();
    replay.seq = difference.seq;
    replay.op = difference.op;
    replay.recorded = difference.recorded;
    replay.now = difference.now;
    return wrong(replay, told.error().text);
  }
  replay.ok = true;
  return replay;
}

Replay replay_file(const std::string& path, const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) {
  const auto text = contents(path);
  if (!text) return wrong({.source = path}, text.error().text);
  return replay_text(*text, workflows, activities, path);
}

Replays replay_directory(const std::string& path, const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) {
  std::vector<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".json") files.push_back(at->path().string());
  }
  if (error) return {{wrong({.source = path}, error.message())}};
  std::sort(files.begin(), files.end());
  Replays replays;
  for (const std::string& file : files) replays.all.push_back(replay_file(file, workflows, activities));
  if (files.empty()) replays.all.push_back(wrong({.source = path}, "there is no *.json in this folder"));
  return replays;
}

bool Replays::ok() const {
  return !all.empty() && std::all_of(all.begin(), all.end(), [](const Replay& one) { return one.ok; });
}

std::string Replays::text() const {
  std::string text;
  for (const Replay& one : all) {
    if (!one.ok) text += one.source + ": " + (one.instance_id.empty() ? "" : "instance '" + one.instance_id + "': ") + one.text + "\n";
  }
  return text;
}

}  // namespace romancy::testing
