// input: a JSON argument, given as text, as @file, or as - for standard input.
#pragma once
#include <string>

#include "common/base/result.hpp"

namespace romancy::cli {

// The JSON text as it was given (numbers untouched), checked to be JSON. Errors name the option.
Result<std::string> read_json_argument(const std::string& option, const std::string& value);

}  // namespace romancy::cli
