// json: the only place where foreign JSON text becomes a value, and values become text.
//
// Sizes and depths are capped before anything is built, because nlohmann's dump and copy recurse.
#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace romancy {

using Json = nlohmann::json;

struct JsonCaps {
  std::size_t bytes = 16u << 20;  // longest text
  int depth = 64;                 // deepest nesting of arrays and objects
};

// Parses `text`. Refuses (naming `what`): longer or deeper than the caps, not JSON, invalid UTF-8.
Result<Json> parse_json(std::string_view text, std::string_view what, JsonCaps caps = {});
// Text of a value of ours; invalid UTF-8 becomes U+FFFD, so this never throws.
std::string dump_json(const Json& value);

}  // namespace romancy
