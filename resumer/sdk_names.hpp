// sdk_names: what a name may be, and the values derived from where in a workflow something stands. Pure.
//
// Everything derived here must never change: it is recomputed in every replay, and other systems keep it (keys, ids).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace romancy::resumer {

// Empty, or why this cannot be the name of a workflow, activity, channel, instance: the rule of the SQL functions.
std::string name_problem(std::string_view name);

// "<instance>:<op>:<generation>": the idempotency key of an activity call, the id of a sent event.
std::string operation_key(const std::string& instance_id, std::int32_t op, int generation);
// Version 5 (SHA-1) of that key, and 64 bits of the same hash.
std::string operation_uuid(const std::string& instance_id, std::int32_t op, int generation);
std::uint64_t operation_random(const std::string& instance_id, std::int32_t op, int generation);

// RFC 3339 in UTC, microseconds: 2026-01-02T03:04:05.000006Z
std::string utc_time(std::int64_t unix_micros);
// Of a text that utc_time() made; of any other 0.
std::int64_t micros_of(const std::string& utc_time);

}  // namespace romancy::resumer
