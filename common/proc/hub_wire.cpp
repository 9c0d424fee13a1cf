#include "common/proc/hub_wire.hpp"

#include <algorithm>
#include <array>

#include "common/base/json.hpp"

namespace romancy::proc {
namespace {

constexpr JsonCaps kCaps{.bytes = kHubMaxLine, .depth = 16};
constexpr std::array kKinds{std::string_view(kWorkflowResumable), std::string_view(kTimerExpired),
                            std::string_view(kChannelMessage), std::string_view(kOutboxPending),
                            std::string_view(kActivityTask)};

// Texts are put together by hand so that the keys stand in the order of the page; values go through dump_json.
std::string json_text(std::string_view text) { return dump_json(Json(std::string(text))); }
std::string bool_text(bool value) { return value ? "true" : "false"; }

Result<Json> parse_object(std::string_view line, std::string_view what) {
  auto json = parse_json(line, what, kCaps);
  if (json && !json->is_object()) return refuse(std::string(what) + ": not a JSON object");
  return json;
}

Result<std::string> name_of(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) return refuse(std::string("hello: ") + key + " must be a text");
  const auto& text = it->get_ref<const std::string&>();
  if (text.empty() || text.size() > kHubMaxName) {
    return refuse(std::string("hello: ") + key + " must have 1 to " + std::to_string(kHubMaxName) + " bytes");
  }
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return refuse(std::string("hello: ") + key + " must not have control characters");
  }
  return text;
}

Result<std::vector<std::string>> channels_of(const Json& object) {
  const auto it = object.find("channels");
  if (it == object.end() || !it->is_array()) return refuse("hello: channels must be an array");
  if (it->size() > kHubMaxChannels) return refuse("hello: too many channels");
  std::vector<std::string> channels;
  for (const auto& channel : *it) {
    if (!channel.is_string()) return refuse("hello: a channel must be a text");
    const auto& kind = channel.get_ref<const std::string&>();
    if (!is_hub_kind(kind)) return refuse("hello: no such channel: " + kind.substr(0, 64));
    if (std::find(channels.begin(), channels.end(), kind) == channels.end()) channels.push_back(kind);
  }
  return channels;
}

bool read_bool(const Json& object, const char* key, bool& into) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_boolean()) return false;
  into = it->get<bool>();
  return true;
}

bool read_text(const Json& object, const char* key, std::string& into) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) return false;
  into = it->get<std::string>();
  return true;
}

// True when `session` is a whole number that fits.
bool read_session(const Json& value, std::int64_t& into) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return false;
  into = value.get<std::int64_t>();
  return true;
}

bool read_word(const Json& object, HubLine& line) {
  if (object.contains("wake")) {
    line.word = HubWord::wake;
    const auto payload = object.find("payload");
    if (payload == object.end() || !payload->is_object()) return false;
    line.payload = dump_json(*payload);
    return read_text(object, "wake", line.text) && is_hub_kind(line.text);
  }
  if (object.contains("resync")) {
    line.word = HubWord::resync;
    return read_text(object, "resync", line.text);
  }
  if (object.contains("state")) {
    line.word = HubWord::state;
    return object["state"].is_object() && read_bool(object["state"], "live", line.live);
  }
  if (object.contains("gone")) {
    line.word = HubWord::gone;
    return read_session(object["gone"], line.session);
  }
  if (object.contains("welcome")) {
    line.word = HubWord::welcome;
    return object["welcome"] == kHubVersion && read_bool(object, "live", line.live);
  }
  if (object.contains("refused")) {
    line.word = HubWord::refused;
    return read_text(object, "refused", line.text);
  }
  return false;
}

}  // namespace

std::string_view resync_why(ResyncWhy why) {
  switch (why) {
    case ResyncWhy::connected: return "connected";
    case ResyncWhy::listener: return "listener";
    case ResyncWhy::gap: return "gap";
    case ResyncWhy::overflow: return "overflow";
    case ResyncWhy::departure: return "departure";
  }
  return "gap";
}

std::string encode_hello(const Subscription& subscription) {
  std::string line = "{\"hello\":" + std::to_string(kHubVersion) + ",\"role\":" + json_text(subscription.role) +
                     ",\"group\":" + json_text(subscription.group) +
                     ",\"channels\":" + dump_json(Json(subscription.channels));
  if (subscription.session) line += ",\"session\":" + std::to_string(*subscription.session);
  return line + "}";
}

std::string encode_welcome(bool live) {
  return "{\"welcome\":" + std::to_string(kHubVersion) + ",\"live\":" + bool_text(live) + "}";
}

std::string encode_resync(ResyncWhy why) { return "{\"resync\":\"" + std::string(resync_why(why)) + "\"}"; }

std::string encode_wake(std::string_view kind, std::string_view payload) {
  std::string line;
  line.reserve(kind.size() + payload.size() + 24);
  line.append("{\"wake\":\"").append(kind).append("\",\"payload\":").append(payload).append("}");
  return line;
}

std::string encode_state(bool live) { return "{\"state\":{\"live\":" + bool_text(live) + "}}"; }

std::string encode_gone(std::int64_t session) { return "{\"gone\":" + std::to_string(session) + "}"; }

std::string encode_refused(std::string_view why) { return "{\"refused\":" + json_text(why) + "}"; }

Result<Subscription> parse_hello(std::string_view line) {
  const auto object = parse_object(line, "hello");
  if (!object) return tl::unexpected(object.error());
  const auto version = object->find("hello");
  if (version == object->end()) return refuse("hello: the first word must be a hello");
  if (*version != kHubVersion) {
    return refuse("hello: version " + dump_json(*version).substr(0, 20) + ", this hub speaks version " +
                  std::to_string(kHubVersion));
  }
  Subscription subscription;
  auto role = name_of(*object, "role");
  if (!role) return tl::unexpected(role.error());
  auto group = name_of(*object, "group");
  if (!group) return tl::unexpected(group.error());
  auto channels = channels_of(*object);
  if (!channels) return tl::unexpected(channels.error());
  subscription.role = std::move(*role);
  subscription.group = std::move(*group);
  subscription.channels = std::move(*channels);
  if (const auto session = object->find("session"); session != object->end()) {
    std::int64_t number = 0;
    if (!read_session(*session, number)) return refuse("hello: session must be a whole number");
    subscription.session = number;
  }
  return subscription;
}

bool is_other_version(std::string_view line) {
  const auto object = parse_object(line, "hello");
  if (!object) return false;
  const auto version = object->find("hello");
  return version != object->end() && version->is_number_integer() && *version != kHubVersion;
}

Result<HubLine> parse_hub_line(std::string_view text) {
  const auto object = parse_object(text, "hub");
  if (!object) return tl::unexpected(object.error());
  HubLine line;
  if (!read_word(*object, line)) return refuse("hub: not understood: " + std::string(text.substr(0, 100)));
  return line;
}

bool is_hub_kind(std::string_view kind) { return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end(); }

}  // namespace romancy::proc
