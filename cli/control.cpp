// romancy status, restart, stop, start-component, drain, log-level, reload, upgrade: asks the supervisor, and reads the
// status board. No database.
#include <cstdio>
#include <map>
#include <utility>

#include "cli/commands.hpp"
#include "cli/control_client.hpp"
#include "cli/exit_codes.hpp"
#include "cli/text.hpp"
#include "common/proc/board.hpp"

namespace romancy::cli {
namespace {

using proc::Counter;
using proc::Histogram;
using proc::SlotView;

constexpr int kQueueWorthSaying = 10;  // percent; the listener warns from there on

struct Answer {
  int exit_code = kExitOk;  // of the command, when there is no reply
  std::string error;
  Json reply;
  proc::Config where;       // the paths only
};

Answer ask(const std::string& command, const Globals& globals, const Json& request) {
  Answer answer{kExitConfig, "", Json::object(), proc::default_config()};
  const auto address = supervisor_address(globals);
  if (!address) {
    answer.error = address.error().text;
    return answer;
  }
  answer.where.runtime_dir = address->runtime_dir;
  auto reply = ask_supervisor(answer.where.control_path(), request);
  const std::string& trouble = address->trouble;
  // A reload of that file is refused in the same words.
  if (!trouble.empty() && (reply || reply.error().text != trouble)) {
    fail(command, kExitConfig, "warning: the configuration is wrong: " + trouble);
  }
  if (reply) {
    answer.exit_code = kExitOk;
    answer.reply = std::move(*reply);
  } else {
    answer.exit_code = reply.error().kind == ErrorKind::retry ? kExitSupervisor : kExitRefused;
    answer.error = reply.error().text;
  }
  return answer;
}

// One command without an answer of its own.
int order(const std::string& command, const Globals& globals, const Json& request, const std::string& done) {
  const auto answer = ask(command, globals, request);
  if (answer.exit_code != kExitOk) return fail(command, answer.exit_code, answer.error);
  std::printf("%s\n", done.c_str());
  return kExitOk;
}

std::map<std::string, SlotView> read_board(const proc::Config& config) {
  std::map<std::string, SlotView> slots;
  const auto board = proc::Board::open(config.board_path());
  if (!board) {
    fail("status", kExitOk, "no counters: " + board.error().text);
    return slots;
  }
  for (SlotView& slot : board->read()) slots.insert_or_assign(slot.component, std::move(slot));
  return slots;
}

Json counters_of(const SlotView& slot) {
  Json counters = Json::object();
  for (std::size_t i = 0; i < slot.counters.size(); ++i) {
    if (slot.counters[i]) counters[std::string(counter_name(static_cast<Counter>(i)))] = slot.counters[i];
  }
  return counters;
}

Json latencies_of(const SlotView& slot) {
  Json latencies = Json::object();
  for (std::size_t i = 0; i < slot.histograms.size(); ++i) {
    std::uint64_t count = 0;
    for (const std::uint64_t bucket : slot.histograms[i]) count += bucket;
    if (!count) continue;
    const auto histogram = static_cast<Histogram>(i);
    const auto microseconds = [&](double p) { return slot.quantile(histogram, p).count() / 1000; };
    latencies[std::string(histogram_name(histogram))] = {
        {"count", count}, {"p50_us", microseconds(0.5)}, {"p99_us", microseconds(0.99)}};
  }
  return latencies;
}

// The supervisor's report, with what the board knows of each component.
void merge(Json& reply, const std::map<std::string, SlotView>& slots) {
  for (Json& component : reply["components"]) {
    const auto slot = slots.find(component.value("name", ""));
    const bool known = slot != slots.end();
    // While an upgrade replaces the listener the slot is its successor's already, and its own word stands beside.
    const std::int64_t pid = component.value("pid", std::int64_t{0});
    const bool former = known && pid != 0 && pid == slot->second.former_pid && pid != slot->second.pid;
    component["live"] = known && (former ? slot->second.former_live : slot->second.live);
    component["heartbeat_age_ms"] =
        !known ? Json(nullptr) : Json(former ? slot->second.former_heartbeat_age_ms : slot->second.heartbeat_age_ms);
    const proc::Trouble trouble = known ? slot->second.trouble : proc::Trouble::none;
    const bool troubled = trouble != proc::Trouble::none;
    component["trouble"] = troubled ? Json(name_of(trouble)) : Json(nullptr);
    component["advice"] = troubled ? Json(advice(trouble)) : Json(nullptr);
    component["counters"] = known ? counters_of(slot->second) : Json::object();
    component["latency"] = known ? latencies_of(slot->second) : Json::object();
  }
}

// What the operator should know and no column of the table has room for.
std::vector<std::string> notes(const Json& reply) {
  std::vector<std::string> all;
  if (const std::string note = reply["supervisor"].value("note", ""); !note.empty()) all.push_back(note);
  for (const Json& component : reply["components"]) {
    if (component["trouble"].is_string()) {
      all.push_back(component.value("name", "") + " does not hear notifications (" + component["trouble"].get<std::string>() +
                    "): " + component["advice"].get<std::string>());
    }
    const auto full = component["counters"].value(std::string(counter_name(Counter::notify_queue_percent)), 0);
    if (full >= kQueueWorthSaying) {
      all.push_back("PostgreSQL's notification queue is " + std::to_string(full) + " % full: some session that listens stands in a transaction, or does not read");
    }
  }
  return all;
}

std::string joined(const Json& object, const std::function<std::string(const std::string&, const Json&)>& show) {
  std::string text;
  for (const auto& [key, value] : object.items()) text += (text.empty() ? "" : "  ") + show(key, value);
  return text;
}

void print_status(const Json& reply) {
  const Json& supervisor = reply["supervisor"];
  std::printf("supervisor  pid %lld, up %s\n", static_cast<long long>(supervisor.value("pid", 0)),
              human_duration(supervisor.value("uptime_ms", std::int64_t{0})).c_str());
  for (const std::string& note : notes(reply)) std::printf("note        %s\n", note.c_str());
  std::printf("\n");
  Table components({"COMPONENT", "STATE", "PID", "UP", "RESTARTS", "HEARS", "LAST EXIT", "WHY"});
  Table counters({"COMPONENT", "COUNTERS"}), latencies({"COMPONENT", "LATENCY (p50/p99)"});
  for (const Json& component : reply["components"]) {
    const std::string name = component.value("name", "");
    const std::int64_t pid = component.value("pid", std::int64_t{0});
    const auto last_exit = component.find("last_exit");
    components.add({name, component.value("state", ""), pid ? std::to_string(pid) : "-",
                    pid ? human_duration(component.value("uptime_ms", std::int64_t{0})) : "-",
                    std::to_string(component.value("restarts", std::int64_t{0})),
                    component.value("live", false) ? "yes" : "no",
                    last_exit != component.end() && last_exit->is_string() ? last_exit->get<std::string>() : "-",
                    component.value("why", "")});
    counters.add({name, joined(component["counters"], [](const std::string& key, const Json& value) {
                    return key + " " + std::to_string(value.get<std::uint64_t>());
                  })});
    latencies.add({name, joined(component["latency"], [](const std::string& key, const Json& value) {
                     return key + " " + std::to_string(value["p50_us"].get<std::int64_t>()) + "/" +
                            std::to_string(value["p99_us"].get<std::int64_t>()) + "us";
                   })});
  }
  std::printf("%s\n%s\n%s", components.text().c_str(), counters.text().c_str(), latencies.text().c_str());
}

}  // namespace

int status(const Globals& globals, bool json) {
  auto answer = ask("status", globals, {{"command", "status"}});
  if (answer.exit_code != kExitOk) return fail("status", answer.exit_code, answer.error);
  merge(answer.reply, read_board(answer.where));
  if (json) std::printf("%s\n", dump_json(answer.reply).c_str());
  else print_status(answer.reply);
  return kExitOk;
}

int restart(const Globals& globals, const std::string& component) {
  return order("restart", globals, {{"command", "restart"}, {"component", component}}, component + " restarts");
}

int stop(const Globals& globals, const std::optional<std::string>& component) {
  Json request{{"command", "stop"}};
  if (component) request["component"] = *component;
  return order("stop", globals, request, component.value_or("everything") + " stops");
}

int start_component(const Globals& globals, const std::string& component) {
  return order("start-component", globals, {{"command", "start"}, {"component", component}}, component + " starts");
}

int drain(const Globals& globals, const std::string& component) {
  return order("drain", globals, {{"command", "drain"}, {"component", component}}, component + " drains");
}

int log_level(const Globals& globals, const std::string& component, const std::string& level) {
  return order("log-level", globals, {{"command", "log-level"}, {"component", component}, {"level", level}},
               component + " logs at level " + level);
}

int reload(const Globals& globals, bool json) {
  const auto answer = ask("reload", globals, {{"command", "reload"}});
  if (answer.exit_code != kExitOk) return fail("reload", answer.exit_code, answer.error);
  const Json& reply = answer.reply;
  if (json) {
    std::printf("%s\n", dump_json(reply).c_str());
    return kExitOk;
  }
  for (const char* what : {"changed", "restarted", "started", "stopped"}) {
    std::string names;
    for (const Json& name : reply.value(what, Json::array())) names += (names.empty() ? "" : ", ") + name.get<std::string>();
    if (!names.empty()) std::printf("%-10s %s\n", what, names.c_str());
  }
  if (reply.value("changed", Json::array()).empty()) std::printf("no value has changed\n");
  return kExitOk;
}

int upgrade(const Globals& globals) {
  return order("upgrade", globals, {{"command", "upgrade"}}, "the new program takes over; romancy status shows how it goes");
}

}  // namespace romancy::cli
