#include "common/base/json.hpp"

namespace romancy {
namespace {

constexpr std::size_t kLongestComplaint = 200;  // bytes of the parser's words that go into an error

// How deep the text nests, counted without building anything: brackets outside of strings. For every prefix that the
// parser accepts this is the parser's own depth, so text that passes here cannot be built deeper.
int depth_of(std::string_view text, int enough) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      else if (c == '"') in_string = false;
      continue;
    }
    switch (c) {
      case '"': in_string = true; break;
      case '[':
      case '{':
        if (++depth > deepest) deepest = depth;
        if (deepest > enough) return deepest;
        break;
      case ']':
      case '}': --depth; break;
      default: break;
    }
  }
  return deepest;
}

// The parser's words without its exception tag, with bytes that are not printable ASCII shown as '?': they quote
// foreign text, which may not even be UTF-8.
std::string complaint(std::string_view words) {
  if (const auto end = words.find("] "); words.starts_with('[') && end != words.npos) words.remove_prefix(end + 2);
  std::string clean(words.substr(0, kLongestComplaint));
  for (char& c : clean)
    if (c < 0x20 || c > 0x7e) c = '?';
  return clean;
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what, JsonCaps caps) {
  if (text.size() > caps.bytes)
    return refuse(std::string(what) + ": JSON of " + std::to_string(text.size()) + " bytes, at most " +
                  std::to_string(caps.bytes) + " are allowed");
  if (depth_of(text, caps.depth) > caps.depth)
    return refuse(std::string(what) + ": JSON nested deeper than " + std::to_string(caps.depth) + " levels");
  try {
    return Json::parse(text);  // may throw: the exception carries the place of the error, a null result would not
  } catch (const Json::exception& e) {
    return refuse(std::string(what) + ": not JSON: " + complaint(e.what()));
  }
}

std::string dump_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace romancy
