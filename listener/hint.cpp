#include "listener/hint.hpp"

#include "common/base/json.hpp"

namespace romancy::listener {
namespace {

constexpr JsonCaps kCaps{.bytes = 4 * kMaxPayload, .depth = 8};  // a replaced byte becomes three

// The same text with U+FFFD for what is not UTF-8: through a JSON string and back.
std::string with_replacement(std::string_view text) {
  const auto string = parse_json(dump_json(Json(std::string(text))), "payload", {.bytes = 8 * kMaxPayload, .depth = 1});
  return string && string->is_string() ? string->get<std::string>() : std::string();
}

}  // namespace

Result<Hint> read_hint(std::string_view payload) {
  if (payload.empty()) return Hint{"{}", std::nullopt};
  if (payload.size() > kMaxPayload) return refuse("payload: longer than " + std::to_string(kMaxPayload) + " bytes");
  auto json = parse_json(payload, "payload", kCaps);
  if (!json) json = parse_json(with_replacement(payload), "payload", kCaps);
  if (!json) return tl::unexpected(json.error());
  if (!json->is_object()) return refuse("payload: not a JSON object");
  Hint hint{dump_json(*json), std::nullopt};
  if (const auto id = json->find("instance_id"); id != json->end() && id->is_string()) {
    hint.instance_id = id->get<std::string>();
  }
  return hint;
}

}  // namespace romancy::listener
