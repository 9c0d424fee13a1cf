// cloud_event: an outbox row as a CloudEvents 1.0 message over HTTP, binary mode. Pure.
//
// Binary mode, because the body then is the stored JSON itself, byte for byte: no number passes through a double, and
// integers beyond 2^53 arrive as they were written (reference: R17). The attributes are ce-* headers; what may not
// stand in a header is percent-encoded as the HTTP binding says (3.1.3.2), so no value can forge a header.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "common/base/result.hpp"

namespace romancy::relay {

struct Event {  // a claimed row of the outbox
  std::string event_id;
  std::string event_type;
  std::string event_source;
  std::string data;  // JSON text; empty: no data
  std::string content_type;
  std::string created_at;  // RFC 3339
  int attempt = 0;         // of the delivery this claim is for, from 1
};

struct Message {
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// Refuses what can never be sent: an empty required attribute, a content type with control characters.
// Data that is exactly {"$binary": "<base64>"} becomes the bytes themselves.
Result<Message> to_message(Event event);

// The header form of an attribute's value.
std::string encode_attribute(const std::string& value);

}  // namespace romancy::relay
