#include "common/proc/config.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <type_traits>
#include <utility>

#include "common/base/errno_text.hpp"
#include "common/base/unique_fd.hpp"
#include "common/proc/board.hpp"
#include "common/proc/config_table.hpp"

namespace romancy::proc {
namespace {

constexpr std::size_t kLongestFile = 1u << 20;  // a configuration of more than a megabyte is a mistake
constexpr int kOwnComponents = 3;               // listener, timer, relay

std::size_t edits(std::string_view a, std::string_view b) {  // Levenshtein: how far a typo is away
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view word, const std::vector<std::string>& words) {
  return *std::min_element(words.begin(), words.end(), [&](const std::string& a, const std::string& b) {
    return edits(word, a) < edits(word, b);
  });
}

// The place and key of an item, for messages: "romancy.toml:12: batch.workflows".
std::string where(std::string_view file, const Item& item) {
  std::string text = std::string(file) + ":" + std::to_string(item.line) + ": ";
  if (!item.section.empty()) text += item.section + (item.key.empty() ? "" : ".");
  return text + item.key.substr(0, 80);
}

tl::unexpected<Error> wrong(std::string_view file, const Item& item, const Setting& setting) {
  return refuse(where(file, item) + " = " + (setting.secret ? "(not shown)" : item.shown) + ": must be " +
                (type_name(setting) == "duration" ? "a duration like \"30s\", " : "") + allowed_range(setting));
}

tl::unexpected<Error> unknown(std::string_view file, const Item& item) {
  std::vector<std::string> near_sections, near_keys;
  for (const auto& section : sections()) near_sections.emplace_back(section.name);
  if (item.section.empty()) {
    for (const auto& s : settings()) near_keys.emplace_back(s.key);
    const std::string key = nearest(item.key, near_keys);
    const auto owner = std::find_if(settings().begin(), settings().end(), [&](const auto& s) { return s.key == key; });
    return refuse(where(file, item) + ": key outside of a section (the nearest is " + key + " in [" + owner->section +
                  "])");
  }
  for (const auto& s : settings()) {
    if (item.section == s.section) near_keys.emplace_back(s.key);
  }
  if (near_keys.empty()) {
    return refuse(where(file, {.section = item.section, .line = item.line}) + ": unknown section (the nearest is [" +
                  nearest(item.section, near_sections) + "])");
  }
  return refuse(where(file, item) + ": unknown key (the nearest is " + nearest(item.key, near_keys) + ")");
}

bool in_range(const Setting& setting, std::int64_t value) {
  return value >= setting.lowest && value <= setting.highest;
}

// Writes `value` where the setting says; false when the type or the range is wrong.
bool assign(const Setting& setting, const Value& value, Config& config, ResumerEntry* entry) {
  const auto* text = std::get_if<std::string>(&value);
  const auto* number = std::get_if<std::int64_t>(&value);
  const auto* flag = std::get_if<bool>(&value);
  return std::visit(
      [&](auto member) -> bool {
        using M = decltype(member);
        if constexpr (std::is_same_v<M, bool Config::*>) {
          if (flag) config.*member = *flag;
          return flag != nullptr;
        } else if constexpr (std::is_same_v<M, int Config::*>) {
          if (!number || !in_range(setting, *number)) return false;
          config.*member = static_cast<int>(*number);
        } else if constexpr (std::is_same_v<M, int ResumerEntry::*>) {
          if (!number || !in_range(setting, *number)) return false;
          entry->*member = static_cast<int>(*number);
        } else if constexpr (std::is_same_v<M, std::string Config::*>) {
          if (!text || !setting.fits(*text)) return false;
          config.*member = *text;
        } else if constexpr (std::is_same_v<M, std::string ResumerEntry::*>) {
          if (!text || !setting.fits(*text)) return false;
          entry->*member = *text;
        } else if constexpr (std::is_same_v<M, std::chrono::milliseconds Config::*>) {
          if (!text) return false;
          const auto duration = parse_duration(*text);
          if (!duration || !in_range(setting, duration->count())) return false;
          config.*member = *duration;
        } else if constexpr (std::is_same_v<M, Listening Config::*>) {
          if (flag) config.*member = *flag ? Listening::on : Listening::off;
          else if (text && *text == "auto") config.*member = Listening::automatic;
          else return false;
        } else if constexpr (std::is_same_v<M, log::Level Config::*>) {
          const auto level = text ? parse_level(*text) : std::nullopt;
          if (!level) return false;
          config.*member = *level;
        } else {
          static_assert(std::is_same_v<M, std::vector<std::string> ResumerEntry::*>);
          const auto* texts = std::get_if<std::vector<std::string>>(&value);
          const auto has_nul = [](const std::string& t) { return t.find('\0') != std::string::npos; };
          if (!texts || texts->empty() || (*texts)[0].rfind('/', 0) != 0) return false;
          if (std::any_of(texts->begin(), texts->end(), has_nul)) return false;
          entry->*member = *texts;
        }
        return true;
      },
      setting.member);
}

const Setting* find_setting(const Item& item) {
  for (const auto& setting : settings()) {
    if (item.section == setting.section && item.key == setting.key) return &setting;
  }
  return nullptr;
}

// What no single value can break: two that must agree.
Result<void> check_together(const Config& config, std::string_view file) {
  struct Pair {
    const char* small;
    std::chrono::milliseconds first;
    const char* large;
    std::chrono::milliseconds longest;
  };
  const Pair pairs[] = {
      {"listener.reconnect_delay", config.reconnect_delay, "listener.reconnect_delay_max", config.reconnect_delay_max},
      {"relay.retry_delay", config.delivery_retry, "relay.retry_delay_max", config.delivery_retry_max},
      {"supervisor.restart_delay", config.restart_delay, "supervisor.restart_delay_max", config.restart_delay_max},
  };
  for (const auto& pair : pairs) {
    if (pair.first > pair.longest) {
      return refuse(std::string(file) + ": " + pair.small + " = \"" + format_duration(pair.first) +
                    "\": must not be longer than " + pair.large + " = \"" + format_duration(pair.longest) + "\"");
    }
  }
  int processes = kOwnComponents;
  std::set<std::string> names;
  for (const auto& resumer : config.resumers) {
    if (resumer.command.empty()) {
      return refuse(std::string(file) + ": resumer." + resumer.name + ": command is missing");
    }
    if (!names.insert(resumer.name).second) {
      return refuse(std::string(file) + ": resumer.name = \"" + resumer.name + "\": used by another [[resumer]]");
    }
    processes += resumer.processes;
  }
  if (processes > kSlots) {
    return refuse(std::string(file) + ": resumer.processes: all of them together must be at most " +
                  std::to_string(kSlots - kOwnComponents));
  }
  return {};
}

}  // namespace

Config default_config() {
  Config config;
  for (const auto& setting : settings()) {
    if (std::string_view(setting.section) == kResumerSection) continue;  // its defaults are ResumerEntry's own
    if (!assign(setting, setting.fallback, config, nullptr)) std::abort();  // the table contradicts itself
  }
  return config;
}

namespace {

Result<Config> read_config(std::string_view toml, std::string_view name) {
  const auto items = read_toml(toml, name);
  if (!items) return tl::unexpected(items.error());
  Config config = default_config();
  config.path = name;
  for (const auto& item : *items) {
    const bool resumer = item.section == kResumerSection;
    const auto entry_index = static_cast<std::size_t>(item.entry);
    if (resumer && config.resumers.size() <= entry_index) config.resumers.resize(entry_index + 1);
    if (item.key.empty()) {  // the section itself
      const auto known = [&](const Section& section) { return item.section == section.name; };
      if (std::none_of(sections().begin(), sections().end(), known)) return unknown(name, item);
      if (!resumer && item.entry > 0) return refuse(where(name, item) + ": only [[resumer]] may come more than once");
      continue;
    }
    const Setting* setting = find_setting(item);
    if (!setting) return unknown(name, item);
    ResumerEntry* entry = resumer ? &config.resumers[entry_index] : nullptr;
    if (!assign(*setting, item.value, config, entry)) return wrong(name, item, *setting);
  }
  if (const auto checked = check_together(config, name); !checked) return tl::unexpected(checked.error());
  return config;
}

// A refusal quotes the file: what would end a text or move a terminal's cursor is not quoted.
template <class T>
Result<T> printable(Result<T> read) {
  if (!read) {
    std::string& text = read.error().text;
    std::replace_if(text.begin(), text.end(), [](unsigned char c) { return (c < 0x20 && c != '\n') || c == 0x7f; }, '?');
  }
  return read;
}

// Of a file that is no TOML as a whole: the lines of [runtime], each read alone; and those below a header that cannot be
// read, which may have been that one.
Result<std::vector<Item>> read_runtime_lines(std::string_view toml, std::string_view name) {
  std::vector<Item> found;
  bool inside = false;
  for (int number = 1; !toml.empty(); ++number) {
    const auto end = std::min(toml.find('\n'), toml.size());
    std::string_view line = toml.substr(0, end);
    toml.remove_prefix(std::min(end + 1, toml.size()));
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.starts_with('[')) {
      const auto header = read_toml(line, name);
      inside = !header || (!header->empty() && header->front().section == "runtime");
    } else if (inside && line.starts_with("dir") && line.find_first_of(" \t=") == 3) {
      auto items = read_toml("[runtime]\n" + std::string(line), name);
      if (!items) return refuse(where(name, {.section = "runtime", .key = "dir", .line = number}) + ": cannot be read");
      for (Item& item : *items) {
        item.line = number;
        found.push_back(std::move(item));
      }
    }
  }
  return found;
}

Result<std::string> read_runtime_dir(std::string_view toml, std::string_view name) {
  auto items = read_toml(toml, name);
  if (!items) items = read_runtime_lines(toml, name);
  if (!items) return tl::unexpected(items.error());
  Config config = default_config();
  for (const Item& item : *items) {
    if (item.section != "runtime" || item.key != "dir") continue;
    const Setting* setting = find_setting(item);
    if (!assign(*setting, item.value, config, nullptr)) return wrong(name, item, *setting);
  }
  return config.runtime_dir;
}

}  // namespace

Result<Config> parse_config(std::string_view toml, std::string_view name) { return printable(read_config(toml, name)); }

Result<std::string> runtime_dir_of(std::string_view toml, std::string_view name) {
  return printable(read_runtime_dir(toml, name));
}

Result<Config> load_config(const std::string& path) {
  const auto text = read_config(path);
  if (!text) return tl::unexpected(text.error());
  return parse_config(*text, path);
}

Result<std::string> read_config(const std::string& path) {
  const auto failed = [&](int error) {
    return refuse("configuration " + path + ": cannot be read: " + errno_text(error));
  };
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return failed(errno);
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno);
    if (got == 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > kLongestFile) return refuse("configuration " + path + ": longer than 1 MiB");
  }
  return text;
}

std::optional<log::Level> parse_level(std::string_view word) {
  for (const auto level : {log::Level::debug, log::Level::info, log::Level::warn, log::Level::error}) {
    if (word == level_word(level)) return level;
  }
  return std::nullopt;
}

std::string_view level_word(log::Level level) {
  switch (level) {
    case log::Level::debug: return "debug";
    case log::Level::info: return "info";
    case log::Level::warn: return "warn";
    case log::Level::error: return "error";
  }
  return "?";
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto no = [&] {
    return refuse("not a duration like 250ms, 30s, 5m, 1h, 7d: " + std::string(text.substr(0, 40)));
  };
  std::size_t digits = 0;
  std::int64_t number = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (digits == 12) return no();  // 10^12 days still fit in 63 bits of milliseconds
    number = number * 10 + (text[digits++] - '0');
  }
  const std::string_view unit = text.substr(digits);
  const std::pair<std::string_view, std::int64_t> units[] = {
      {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  for (const auto& [name, factor] : units) {
    if (digits > 0 && unit == name) return std::chrono::milliseconds(number * factor);
  }
  return no();
}

std::string format_duration(std::chrono::milliseconds value) {
  const std::int64_t ms = value.count();
  const std::pair<const char*, std::int64_t> units[] = {
      {"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}};
  for (const auto& [name, factor] : units) {
    if (ms == factor && factor == 60'000) continue;  // one minute is said as 60s: it is compared with other seconds
    if (ms != 0 && ms % factor == 0) {
      return std::to_string(ms / factor) + name;
    }
  }
  return std::to_string(ms) + "ms";
}

}  // namespace romancy::proc
