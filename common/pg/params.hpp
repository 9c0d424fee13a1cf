// Params: the parameters of one statement, in text format, in order. Arrays become PostgreSQL array literals.
#pragma once
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace romancy::pg {

class Params {
 public:
  Params() = default;
  template <class... T>
  explicit Params(const T&... values) {
    (add(values), ...);
  }

  Params& add(std::string_view value) { return push(std::string(value)); }
  Params& add(const std::string& value) { return push(value); }
  Params& add(const char* value) { return push(std::string(value)); }
  Params& add(bool value) { return push(value ? "t" : "f"); }
  template <std::integral T>
  Params& add(T value) {
    return push(std::to_string(value));
  }
  Params& add(std::nullopt_t) {
    values_.emplace_back(std::nullopt);
    return *this;
  }
  template <class T>
  Params& add(const std::optional<T>& value) {
    return value ? add(*value) : add(std::nullopt);
  }
  // Array literals, elements quoted and escaped; an empty vector is '{}', nullopt an SQL NULL.
  Params& add(const std::vector<std::string>& values);
  Params& add(const std::vector<std::optional<std::string>>& values);
  Params& add(const std::vector<std::int64_t>& values);
  Params& add(const std::vector<std::optional<std::int64_t>>& values);
  Params& add(const std::vector<int>& values);
  Params& add(const std::vector<bool>& values);

  [[nodiscard]] const std::vector<std::optional<std::string>>& values() const { return values_; }

 private:
  Params& push(std::string value) {
    values_.emplace_back(std::move(value));
    return *this;
  }
  std::vector<std::optional<std::string>> values_;
};

}  // namespace romancy::pg
