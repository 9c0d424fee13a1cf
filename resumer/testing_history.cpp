#include "resumer/testing_history.hpp"

#include <algorithm>

#include "common/base/json.hpp"
#include "resumer/history.hpp"
#include "resumer/memory_instance.hpp"

namespace romancy::testing {
namespace {

constexpr int kVersion = 1;
constexpr JsonCaps kCaps{.bytes = 1u << 30, .depth = 70};  // the data of a row may be as deep as any value

// One field of an object; where() names it when it is not what it should be.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  std::string text(const char* name, bool may_be_null = false) {
    const Json* value = find(name);
    if (may_be_null && (value == nullptr || value->is_null())) return {};
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    complain(name, "a text is expected here");
    return {};
  }
  std::int64_t number(const char* name) {
    const Json* value = find(name);
    if (value != nullptr && value->is_number_integer()) return value->get<std::int64_t>();
    complain(name, "an integer is expected here");
    return 0;
  }
  [[nodiscard]] const Json* find(const char* name) const {
    const auto found = object_.find(name);
    return found != object_.end() ? &*found : nullptr;
  }
  void complain(const std::string& name, const std::string& what) {
    if (problem_.empty()) problem_ = where_ + name + ": " + what;
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const Json& object_;
  std::string where_, problem_;
};

}  // namespace

std::vector<resumer::HistoryRow> rows_of(const History& history) {
  std::vector<resumer::HistoryRow> rows;
  for (const Event& event : history.events) {
    const auto kind = resumer::kind_named(event.kind);
    if (!kind) throw Failure("'" + event.kind + "' is no kind of event");
    rows.push_back({event.seq, event.op, *kind, event.name, event.data});
  }
  return rows;
}

std::string History::text(bool with_data) const { return resumer::told_lines(rows_of(*this), with_data); }

int History::count(std::string_view kind, std::string_view name) const {
  return static_cast<int>(std::count_if(events.begin(), events.end(), [&](const Event& event) {
    return event.kind == kind && (name.empty() || event.name == name);
  }));
}

std::string History::json() const {
  Json head{{"format", "romancy.history"}, {"version", kVersion},       {"instance_id", instance_id},
            {"workflow", workflow},        {"status", status},          {"generation", generation},
            {"first_generation", first_generation}};
  std::string text = dump_json(head);
  text.back() = ',';
  text += "\"history\":[";
  for (const Event& event : events) {  // a line each, so that two files can be compared
    Json row{{"seq", event.seq}, {"op", event.op}, {"kind", event.kind}, {"name", event.name}};
    std::string line = dump_json(row);
    line.pop_back();
    text += (&event == events.data() ? "\n" : ",\n") + line + ",\"data\":" + (event.data.empty() ? "null" : event.data) + "}";
  }
  return text + "\n]}\n";
}

Result<History> read_history(std::string_view text) {
  const auto parsed = parse_json(text, "not a history", kCaps);
  if (!parsed) return tl::unexpected(parsed.error());
  if (!parsed->is_object() || parsed->value("format", Json()) != "romancy.history")
    return refuse("format: this is no file that `romancy history export` wrote");
  Fields head(*parsed, "");
  History history;
  const std::int64_t version = head.number("version");
  if (version > kVersion) head.complain("version", std::to_string(version) + " is newer than this program knows");
  history.instance_id = head.text("instance_id");
  history.workflow = head.text("workflow");
  history.status = head.text("status");
  history.generation = static_cast<int>(head.number("generation"));
  history.first_generation = static_cast<int>(head.number("first_generation"));
  const Json* rows = head.find("history");
  if (rows == nullptr || !rows->is_array()) head.complain("history", "a list is expected here");
  if (!head.problem().empty()) return refuse(head.problem());
  for (std::size_t i = 0; i < rows->size(); ++i) {
    const std::string where = "history[" + std::to_string(i) + "]";
    if (!(*rows)[i].is_object()) return refuse(where + ": an object is expected here");
    Fields row((*rows)[i], where + ".");
    Event event{row.number("seq"), static_cast<std::int32_t>(row.number("op")), row.text("kind"), row.text("name", true), "null"};
    if (const Json* data = row.find("data")) event.data = dump_json(*data);
    if (!resumer::kind_named(event.kind)) row.complain("kind", "'" + event.kind + "' is no kind of event");
    if (event.seq != static_cast<std::int64_t>(i) + 1) row.complain("seq", std::to_string(event.seq) + " where " + std::to_string(i + 1) + " is expected");
    if (!row.problem().empty()) return refuse(row.problem());
    history.events.push_back(std::move(event));
  }
  return history;
}

}  // namespace romancy::testing
