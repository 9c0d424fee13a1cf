#include "common/pg/params.hpp"

namespace romancy::pg {
namespace {

// Always quoted: an unquoted NULL, a comma or a brace would change what the element is.
void write_element(std::string& out, const std::string& value) {
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}
void write_element(std::string& out, std::int64_t value) { out += std::to_string(value); }
void write_element(std::string& out, bool value) { out += value ? 't' : 'f'; }
template <class T>
void write_element(std::string& out, const std::optional<T>& value) {
  if (value) write_element(out, *value);
  else out += "NULL";
}

template <class Vector>
std::string literal(const Vector& values) {
  std::string out = "{";
  for (auto it = values.begin(); it != values.end(); ++it) {
    if (it != values.begin()) out += ',';
    write_element(out, static_cast<const typename Vector::value_type&>(*it));
  }
  out += '}';
  return out;
}

}  // namespace

Params& Params::add(const std::vector<std::string>& values) { return push(literal(values)); }
Params& Params::add(const std::vector<std::optional<std::string>>& values) { return push(literal(values)); }
Params& Params::add(const std::vector<std::int64_t>& values) { return push(literal(values)); }
Params& Params::add(const std::vector<std::optional<std::int64_t>>& values) { return push(literal(values)); }
Params& Params::add(const std::vector<int>& values) {
  return push(literal(std::vector<std::int64_t>(values.begin(), values.end())));
}
Params& Params::add(const std::vector<bool>& values) { return push(literal(values)); }

}  // namespace romancy::pg
