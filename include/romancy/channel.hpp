// channel: how the messages of a channel are spread. The numbers are stored.
#pragma once
#include <cstdint>

namespace romancy {

// broadcast: every subscriber gets a copy of each message. competing: each message goes to one of the instances that
// wait for it, the one that has waited longest; messages nobody waits for are kept.
enum class ChannelMode : std::int16_t { broadcast = 1, competing = 2 };

}  // namespace romancy
