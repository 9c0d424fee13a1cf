// The table as text for people: --help, the commented file that is installed, and the page of documentation.
#include <algorithm>

#include "common/proc/config.hpp"
#include "common/proc/config_table.hpp"

namespace romancy::proc {
namespace {

constexpr std::size_t kWidth = 116;  // of a comment line in the installed file

std::string header(const Section& section) {
  const std::string name = section.name;
  return name == kResumerSection ? "[[" + name + "]]" : "[" + name + "]";
}

std::string comment(const std::string& text) {  // "# " before each line, broken between words
  std::string out, line = "#";
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (line.size() + 1 + (end - at) > kWidth) {
      out += line + "\n";
      line = "#";
    }
    line += " " + text.substr(at, end - at);
    at = end + 1;
  }
  return out + line + "\n";
}

std::string cell(std::string text) {  // of a markdown table
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

template <class Each>
void for_keys(const Section& section, Each each) {
  for (const auto& setting : settings()) {
    if (std::string_view(setting.section) == section.name) each(setting);
  }
}

}  // namespace

std::string config_help() {
  std::string out = "Configuration (TOML), with its defaults:\n";
  for (const auto& section : sections()) {
    out += "\n  " + header(section) + "\n";
    for_keys(section, [&](const Setting& setting) {
      std::string line = "  " + std::string(setting.key) + " = " + show_value(setting.fallback);
      line.resize(std::max<std::size_t>(line.size() + 2, 40), ' ');
      out += line + "# " + allowed_range(setting) + "\n";
    });
  }
  return out;
}

std::string config_commented() {
  std::string out =
      "# romancyd: the configuration, with every option at its default.\n"
      "# Take the # away from a line to change it. Unknown keys and values out of range are refused.\n"
      "# Durations are texts: \"250ms\", \"30s\", \"5m\", \"1h\", \"7d\".\n";
  for (const auto& section : sections()) {
    const bool several = std::string_view(section.name) == kResumerSection;
    out += "\n" + comment(section.sentence) + (several ? "# " : "") + header(section) + "\n";
    for_keys(section, [&](const Setting& setting) {
      out += comment(std::string(setting.sentence) + " (" + allowed_range(setting) + ")");
      // A [[resumer]] has no useful default command, so the installed file shows one.
      const bool command = several && std::string_view(setting.key) == "command";
      const std::string value = command ? R"(["/usr/bin/orders_worker"])" : show_value(setting.fallback);
      out += "# " + std::string(setting.key) + " = " + value + "\n";
    });
  }
  return out;
}

std::string config_markdown() {
  std::string out =
      "# Configuration\n\n"
      "Made from the table in `common/proc/config_table.cpp`; a test compares the two. The file is read at the\n"
      "start and at `romancy reload`. Unknown keys and values out of range are refused with file, line, key, value and range (exit code 78).\n"
      "Durations are texts: `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`, `\"7d\"`.\n";
  for (const auto& section : sections()) {
    out += "\n## `" + header(section) + "`\n\n" + section.sentence + "\n\n";
    out += "| key | type | default | allowed | what it decides |\n|---|---|---|---|---|\n";
    for_keys(section, [&](const Setting& setting) {
      out += "| `" + std::string(setting.key) + "` | " + type_name(setting) + " | `" +
             show_value(setting.fallback) + "` | " + cell(allowed_range(setting)) + " | " + cell(setting.sentence) +
             " |\n";
    });
  }
  return out;
}

}  // namespace romancy::proc
