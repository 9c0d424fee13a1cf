// text: how the command line prints: aligned tables for people, JSON for programs. Pure.
//
// JSON is put together as text: what the database stores passes through unchanged, so that an integer beyond 2^53 is
// printed as it was written.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace romancy::cli {

// Rows under a heading; columns are separated by two spaces. Control characters are shown
// as '?', so that stored text cannot steer a terminal.
class Table {
 public:
  Table() = default;  // without a heading
  explicit Table(std::vector<std::string> heading) { rows_.push_back(std::move(heading)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// At most `width` characters of one line; "..." at the end when cut.
std::string shorten(std::string_view text, std::size_t width);
// "3s", "2m 5s", "1h 12m", "9d 3h".
std::string human_duration(std::int64_t ms);

class JsonObject {
 public:
  JsonObject& text(std::string_view key, const std::optional<std::string>& value);  // none: null
  JsonObject& number(std::string_view key, std::int64_t value);
  JsonObject& boolean(std::string_view key, bool value);
  JsonObject& raw(std::string_view key, const std::optional<std::string>& json);  // JSON as it is; none: null
  [[nodiscard]] std::string str() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

std::string json_array(const std::vector<std::string>& elements);

}  // namespace romancy::cli
