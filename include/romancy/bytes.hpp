// Bytes: binary payloads, wherever a value is JSON: inputs, results, messages, events.
//
// In JSON, and so in SQL, they are {"$binary": "<base64>"}: a third longer than what they hold. From SQL:
// romancy.binary(bytea) makes that form and romancy.binary(jsonb) reads it. The relay delivers an event whose data is
// Bytes as the bytes themselves.
#pragma once
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <romancy/json.hpp>

namespace romancy {

namespace detail {

std::string to_base64(const std::vector<std::byte>& bytes);
// Throws std::invalid_argument for what is not base64 with padding; who reads a value makes it a BadData that says where.
std::vector<std::byte> from_base64(std::string_view text);

}  // namespace detail

struct Bytes {
  Bytes() = default;
  explicit Bytes(std::vector<std::byte> value) : data(std::move(value)) {}
  explicit Bytes(std::string_view text) {
    data.reserve(text.size());
    for (const char c : text) data.push_back(static_cast<std::byte>(c));
  }
  [[nodiscard]] std::string text() const { return {reinterpret_cast<const char*>(data.data()), data.size()}; }
  bool operator==(const Bytes&) const = default;

  std::vector<std::byte> data;
};

template <class J>
void to_json(J& json, const Bytes& bytes) {
  json = {{"$binary", detail::to_base64(bytes.data)}};
}
template <class J>
void from_json(const J& json, Bytes& bytes) {
  if (!json.is_object() || json.size() != 1) throw std::invalid_argument("is not {\"$binary\": \"<base64>\"}");
  bytes.data = detail::from_base64(json.at("$binary").template get<std::string>());
}

}  // namespace romancy
