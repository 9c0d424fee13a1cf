// ids: random identifiers. All come from the kernel's generator (getrandom), so that forks never repeat them.
#pragma once
#include <cstdint>
#include <string>

namespace romancy {

// A session id: uniform in [1, 2^63). Random and not counted, because counters run backwards after a failover.
std::int64_t random_session_id();
// A version 4 UUID, lower case, 36 characters.
std::string random_uuid();

}  // namespace romancy
