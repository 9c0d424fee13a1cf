// log: one event, one line, key=value. spdlog stays behind log.cpp.
//
// Lines go to stderr: time, level, component, event, fields. Values are escaped (control characters, spaces and
// quotes make a quoted string), so that nobody can forge a line. Thread-safe. Never throws.
// Never waits: a line that standard error does not take now (its reader has stopped, the disk is full) is dropped and
// counted, and how many were is said when it takes lines again.
#pragma once
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace romancy::log {

enum class Level { debug, info, warn, error };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, const std::string& v) : key(k), value(v) {}
  Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <std::integral T>
  Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};
using Fields = std::initializer_list<Field>;

// Names the component and sets the level; call once, before the first line (and again to change the level).
void set_up(std::string_view component, Level level);

// Lines that were dropped since this process began.
std::uint64_t dropped();

void write(Level level, std::string_view event, std::span<const Field> fields);
inline void write(Level level, std::string_view event, Fields fields = {}) {
  write(level, event, std::span<const Field>(fields.begin(), fields.size()));
}
inline void debug(std::string_view event, Fields fields = {}) { write(Level::debug, event, fields); }
inline void info(std::string_view event, Fields fields = {}) { write(Level::info, event, fields); }
inline void warn(std::string_view event, Fields fields = {}) { write(Level::warn, event, fields); }
inline void error(std::string_view event, Fields fields = {}) { write(Level::error, event, fields); }

}  // namespace romancy::log
