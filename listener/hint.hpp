// hint: what a notification of PostgreSQL says, after it was checked. Pure.
//
// Whoever may connect to the database may send any notification: nothing of it is trusted. A hint only makes
// somebody look; a payload that is no JSON object (or nothing at all: "look") is dropped and counted.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace romancy::listener {

inline constexpr std::size_t kMaxPayload = 8000;  // bytes; PostgreSQL itself allows 7999

struct Hint {
  std::string payload;                     // the text of a JSON object, one line, valid UTF-8
  std::optional<std::string> instance_id;  // the instance it is about
};

// Bytes that are not UTF-8 (a database in SQL_ASCII) are replaced: the hint is about another instance then, but
// somebody looks.
Result<Hint> read_hint(std::string_view payload);

}  // namespace romancy::listener
