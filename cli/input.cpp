#include "cli/input.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "common/base/errno_text.hpp"
#include "common/base/json.hpp"

namespace romancy::cli {
namespace {

Result<std::string> read_all(std::FILE* file, const std::string& name) {
  const JsonCaps caps;
  std::string text;
  char buffer[1 << 16];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    text.append(buffer, got);
    if (text.size() > caps.bytes) return refuse(name + ": longer than " + std::to_string(caps.bytes) + " bytes");
  }
  if (std::ferror(file)) return refuse(name + ": " + errno_text(errno));
  return text;
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

Result<std::string> read_source(const std::string& value) {
  if (value == "-") return read_all(stdin, "standard input");
  if (value.empty() || value[0] != '@') return value;
  const std::string path = value.substr(1);
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "re"));
  if (!file) return refuse(path + ": " + errno_text(errno));
  return read_all(file.get(), path);
}

}  // namespace

Result<std::string> read_json_argument(const std::string& option, const std::string& value) {
  auto text = read_source(value);
  if (!text) return tl::unexpected(std::move(text.error()).within(option));
  if (const auto json = parse_json(*text, option); !json) return tl::unexpected(json.error());
  return text;
}

}  // namespace romancy::cli
