// romancy_config_text: prints the configuration table, as the file that is installed or as the page of documentation.
// A tool of the build; not installed.
#include <cstdio>
#include <string_view>

#include "common/proc/config.hpp"

int main(int argc, char** argv) {
  const std::string_view what = argc == 2 ? argv[1] : "";
  if (what == "commented") return std::fputs(romancy::proc::config_commented().c_str(), stdout) < 0;
  if (what == "markdown") return std::fputs(romancy::proc::config_markdown().c_str(), stdout) < 0;
  std::fputs("usage: romancy_config_text commented | markdown\n", stderr);
  return 64;
}
