// Lines of the hub's protocol, read by both sides.
#include "common/base/json.hpp"
#include "common/proc/hub_wire.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace romancy;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line = fuzz::text(data, size);
  if (const auto said = proc::parse_hello(line)) {
    require(line.size() <= proc::kHubMaxLine, "a line that is too long is refused");
    require(said->channels.size() <= proc::kHubMaxChannels, "no more channels than there may be");
    require(said->role.size() <= proc::kHubMaxName && said->group.size() <= proc::kHubMaxName, "names have a limit");
    for (const auto& channel : said->channels) require(proc::is_hub_kind(channel), "an unknown channel is refused");
    const auto again = proc::parse_hello(proc::encode_hello(*said));
    require(again && again->role == said->role && again->group == said->group && again->channels == said->channels, "a hello survives the wire");
  }
  if (const auto heard = proc::parse_hub_line(line)) {
    if (heard->word == proc::HubWord::wake) {
      const auto payload = parse_json(heard->payload, "payload");
      require(payload && payload->is_object(), "a payload is an object");
      require(heard->payload.find('\n') == std::string::npos, "and one line");
      const auto again = proc::parse_hub_line(proc::encode_wake(heard->text, heard->payload));
      require(again && again->payload == heard->payload, "a wake survives the wire");
    }
  }
  return 0;
}
