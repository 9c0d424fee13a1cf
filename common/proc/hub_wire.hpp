// hub_wire: the words between the hub and its subscribers, and nothing else (docs/hub-protocol.md is the page).
//
// One JSON object a line. Whatever was written by another process is parsed here and checked completely: a wrong
// type, a wrong size or an unknown word is refused, and the peer that sent it is closed. Keys we do not know inside
// a word we know are ignored, so that a later version may say more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/proc/hub_client.hpp"

namespace romancy::proc {

inline constexpr int kHubVersion = 1;                  // said in hello and welcome; another one is refused
inline constexpr std::size_t kHubMaxLine = 64u << 10;  // bytes
inline constexpr std::size_t kHubMaxName = 1024;       // bytes of a role or a group
inline constexpr std::size_t kHubMaxChannels = 64;

inline constexpr const char* kRoleTimer = "timer";        // is told whose session is gone
inline constexpr const char* kRoleObserver = "observer";  // shares with nobody: gets every hint of its channels

enum class HubWord {
  hello,    // subscriber to hub, once: who I am, what I want to hear
  welcome,  // hub to subscriber: you are in; is PostgreSQL heard. A resync follows
  resync,   // look at everything once
  wake,     // a notification arrived
  state,    // PostgreSQL is heard, or not, from now on
  gone,     // a subscriber with this session hung up
  refused,  // you are not in, and why; the hub closes
};

enum class ResyncWhy {
  connected,  // you have just subscribed
  listener,   // the listener hears PostgreSQL for the first time since it was started
  gap,        // it hears PostgreSQL again; what was said meanwhile is lost
  overflow,   // you read too slowly; what waited for you was dropped
  departure,  // a member of your group left, and what it was told last may have been lost with it
};
std::string_view resync_why(ResyncWhy why);

// Lines without the newline.
std::string encode_hello(const Subscription& subscription);
std::string encode_welcome(bool live);
std::string encode_resync(ResyncWhy why);
std::string encode_wake(std::string_view kind, std::string_view payload);  // payload: the text of a JSON object
std::string encode_state(bool live);
std::string encode_gone(std::int64_t session);
std::string encode_refused(std::string_view why);

// What a subscriber said. Refuses another version, an unknown channel, sizes out of bounds.
Result<Subscription> parse_hello(std::string_view line);
// Is this a hello, but of another version?
bool is_other_version(std::string_view line);

struct HubLine {  // what the hub said; only the members of its word are set
  HubWord word = HubWord::state;
  bool live = false;           // welcome, state
  std::string text;            // resync, refused: why; wake: the kind
  std::string payload;         // wake: the text of a JSON object
  std::int64_t session = 0;    // gone
};
Result<HubLine> parse_hub_line(std::string_view line);

// Is this one of the notification kinds?
bool is_hub_kind(std::string_view kind);

}  // namespace romancy::proc
