#include "relay/cloud_event.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

namespace romancy::relay {
namespace {

std::optional<std::string> base64_decoded(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  int held = 0;  // bits that are not written yet
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == kDigits.npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if ((held += 6) < 8) continue;
    held -= 8;
    bytes += static_cast<char>(bits >> held & 0xff);
  }
  return bytes;
}

// The bytes of {"$binary": ".."}, as PostgreSQL writes that jsonb; nothing when it is any other JSON.
std::optional<std::string> binary_value(std::string_view json) {
  static constexpr std::string_view kBefore = R"({"$binary": ")", kAfter = R"("})";
  if (!json.starts_with(kBefore) || !json.ends_with(kAfter) || json.size() < kBefore.size() + kAfter.size())
    return std::nullopt;
  return base64_decoded(json.substr(kBefore.size(), json.size() - kBefore.size() - kAfter.size()));
}

}  // namespace

std::string encode_attribute(const std::string& value) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(value.size());
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '"' && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    }
  }
  return out;
}

Result<Message> to_message(Event event) {
  if (event.event_id.empty()) return refuse("event_id: is empty");
  if (event.event_type.empty()) return refuse("event_type: is empty");
  if (event.event_source.empty()) return refuse("event_source: is empty");
  const auto unprintable = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e;
  };
  if (std::any_of(event.content_type.begin(), event.content_type.end(), unprintable)) {
    return refuse("content_type: holds characters that cannot stand in a header");
  }
  Message message;
  message.headers = {{"ce-specversion", "1.0"},
                     {"ce-id", encode_attribute(event.event_id)},
                     {"ce-type", encode_attribute(event.event_type)},
                     {"ce-source", encode_attribute(event.event_source)}};
  if (!event.created_at.empty()) message.headers.emplace_back("ce-time", encode_attribute(event.created_at));
  message.headers.emplace_back("content-type", event.content_type.empty() ? "application/json" : event.content_type);
  auto bytes = binary_value(event.data);
  message.body = bytes ? std::move(*bytes) : std::move(event.data);
  return message;
}

}  // namespace romancy::relay
