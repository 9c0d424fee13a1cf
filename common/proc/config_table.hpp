// config_table: every option of romancyd, once. The parser, the checks, --help, packaging/romancy.toml and
// docs/configuration.md are all made from these rows; an option that is not here does not exist. A row also says who
// reads its option, so that a reload restarts those and nobody else; one that does not say so does not compile.
//
// Internal to common/proc: others see config.hpp.
#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/proc/config.hpp"
#include "common/proc/config_change.hpp"

namespace romancy::proc {

// What a TOML value can be here. monostate: anything else (a float, a date, a table), which no option takes.
using Value = std::variant<std::monostate, bool, std::int64_t, std::string, std::vector<std::string>>;

// Where the value goes; its type is the option's type.
using Member = std::variant<bool Config::*, int Config::*, std::string Config::*, std::chrono::milliseconds Config::*,
                            Listening Config::*, log::Level Config::*, std::string ResumerEntry::*,
                            int ResumerEntry::*, std::vector<std::string> ResumerEntry::*>;

// Bits of Reader. Without a default, so that no row can leave it out.
struct Readers {
  constexpr Readers(unsigned bits_) : bits(bits_) {}  // NOLINT(google-explicit-constructor): the rows read better
  unsigned bits;
};

struct Setting {
  const char* section;
  const char* key;
  Member member;
  Readers readers;
  Value fallback;               // as it would be written in the file
  std::int64_t lowest = 0;      // numbers: the range; durations: the range in milliseconds
  std::int64_t highest = 0;
  const char* allowed = "";     // texts: the range in words
  bool (*fits)(const std::string& text) = nullptr;  // texts: is it in that range
  const char* sentence = "";
  bool secret = false;          // may hold a password: errors do not repeat the value
};

struct Section {
  const char* name;
  const char* sentence;
};

inline constexpr const char* kResumerSection = "resumer";  // the only section that may come more than once

std::span<const Setting> settings();
std::span<const Section> sections();

std::string type_name(const Setting& setting);      // "duration"
std::string allowed_range(const Setting& setting);  // "1ms to 1h", "1 to 10000", "true or false"
std::string show_value(const Value& value);         // as TOML

// One `key = value` of a file. `entry` counts the [[resumer]] tables from 0.
struct Item {
  std::string section{};
  int entry = 0;
  std::string key{};  // empty: the section itself was met (so that an unknown empty one is refused as well)
  Value value{};
  std::string shown{};  // the value as it was written, cut to a sane length
  int line = 0;
};

// config_toml.cpp, the only door to toml++. Errors name the file and the line.
Result<std::vector<Item>> read_toml(std::string_view text, std::string_view name);

}  // namespace romancy::proc
