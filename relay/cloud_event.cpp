#include "relay/cloud_event.hpp"

#include <algorithm>

namespace romancy::relay {

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
  message.body = std::move(event.data);
  return message;
}

}  // namespace romancy::relay
