// What anybody who may connect to the database can send us.
#include "common/base/json.hpp"
#include "common/proc/hub_wire.hpp"
#include "listener/hint.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace romancy;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto hint = listener::read_hint(fuzz::text(data, size));
  if (!hint) return 0;
  require(size <= listener::kMaxPayload, "a payload that is too long is refused");
  const auto payload = parse_json(hint->payload, "payload");
  require(payload && payload->is_object(), "what is passed on is an object, in valid UTF-8");
  require(hint->payload.find('\n') == std::string::npos, "and one line");
  const std::string line = proc::encode_wake("channel_message", hint->payload);
  if (line.size() > proc::kHubMaxLine) return 0;
  const auto heard = proc::parse_hub_line(line);
  require(heard && heard->payload == hint->payload, "subscribers understand it");
  return 0;
}
