// The only door to toml++: text to a flat list of items, in the order of the file.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 1
// toml++ 3.3 asserts what a file may break ("[ =]": a header must begin with a key), and has the error message for it right
// behind the assertion. A wrong file must be refused, not end the program. (NDEBUG would be worse: an assumption.)
#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "common/proc/config_table.hpp"

namespace romancy::proc {
namespace {

constexpr std::size_t kLongestShown = 120;

Value to_value(const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_integer()) return std::int64_t{number->get()};
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* array = node.as_array()) {
    std::vector<std::string> texts;
    for (const auto& element : *array) {
      const auto* text = element.as_string();
      if (!text) return std::monostate{};
      texts.push_back(text->get());
    }
    return texts;
  }
  return std::monostate{};
}

std::string show(const toml::node& node) {
  std::string text = show_value(to_value(node));
  if (text.empty()) {
    std::ostringstream out;
    node.visit([&](const auto& typed) { out << typed; });
    text = out.str();
  }
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  if (text.size() > kLongestShown) text = text.substr(0, kLongestShown) + "...";
  return text;
}

int line_of(const toml::node& node) { return static_cast<int>(node.source().begin.line); }

void flatten(const toml::table& table, const std::string& section, int entry, std::vector<Item>& items) {
  items.push_back({.section = section, .entry = entry, .line = line_of(table)});
  for (const auto& [key, node] : table) {
    items.push_back({.section = section,
                     .entry = entry,
                     .key = std::string(key.str()),
                     .value = to_value(node),
                     .shown = show(node),
                     .line = static_cast<int>(key.source().begin.line)});
  }
}

}  // namespace

Result<std::vector<Item>> read_toml(std::string_view text, std::string_view name) {
  const auto parsed = toml::parse(text, name);
  if (!parsed) {
    return refuse(std::string(name) + ":" + std::to_string(parsed.error().source().begin.line) + ": " +
                  std::string(parsed.error().description()));
  }
  std::vector<Item> items;
  for (const auto& [key, node] : parsed.table()) {
    const std::string section(key.str());
    if (const auto* table = node.as_table()) {
      flatten(*table, section, 0, items);
    } else if (node.is_array_of_tables()) {
      int entry = 0;
      for (const auto& element : *node.as_array()) flatten(*element.as_table(), section, entry++, items);
    } else {  // a key above the first section
      items.push_back({.key = section, .value = to_value(node), .shown = show(node), .line = line_of(node)});
    }
  }
  // toml++ keeps tables sorted by key; the first mistake to report is the first in the file.
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.line < b.line; });
  return items;
}

}  // namespace romancy::proc
