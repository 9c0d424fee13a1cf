// trouble: why a listener does not hear notifications. On the status board, in its log, in `romancy status`. Pure.
#pragma once
#include <cstdint>
#include <string_view>

namespace romancy::proc {

enum class Trouble : std::uint8_t {
  none,
  away,          // no connection could be made, or it was closed: the text says why
  black_hole,    // what we sent is not acknowledged: the network, or the whole host, is gone
  hung_backend,  // it is acknowledged, and nobody answers: the server process (or a pooler) stands still
  pooler,        // statements are answered, notifications do not come: a pooler swallows LISTEN
  standby,       // the server is a standby: no LISTEN, no NOTIFY there
  refused,       // the server refused a statement for another reason: the text says why
  count_
};
std::string_view name_of(Trouble trouble);  // "black_hole": as in the log
std::string_view advice(Trouble trouble);   // a sentence for who reads the status; empty for none

}  // namespace romancy::proc
