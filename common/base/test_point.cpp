#include "common/base/test_point.hpp"

#ifdef ROMANCY_TEST_POINTS
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace romancy {
namespace {

struct Point {
  std::string action;
  long due = 1, passed = 0;
};

std::map<std::string, Point, std::less<>> read_points() {
  std::map<std::string, Point, std::less<>> points;
  const char* variable = ::getenv("ROMANCY_TEST_POINTS");
  std::string_view text = variable ? variable : "";
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(one.size() == text.size() ? text.size() : one.size() + 1);
    const auto equals = one.find('=');
    if (equals == std::string_view::npos) continue;
    Point point{.action = std::string(one.substr(equals + 1))};
    if (const auto at = point.action.rfind('@'); at != std::string::npos) {
      point.due = std::atol(point.action.c_str() + at + 1);
      point.action.resize(at);
    }
    points.emplace(std::string(one.substr(0, equals)), std::move(point));
  }
  return points;
}

bool first_of_all(std::string_view name) {
  const char* directory = ::getenv("ROMANCY_TEST_POINTS_ONCE");
  if (!directory) return true;
  const std::string file = std::string(directory) + "/" + std::string(name);
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

}  // namespace

bool test_point(std::string_view name) {
  static std::mutex mutex;
  static std::map<std::string, Point, std::less<>> points = read_points();
  std::string action;
  {
    const std::lock_guard lock(mutex);
    const auto found = points.find(name);
    if (found == points.end() || ++found->second.passed != found->second.due) return false;
    action = found->second.action;
  }
  if (!first_of_all(name)) return false;
  if (action == "crash") {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  if (action.starts_with("pause:")) {
    const timespec between_looks{.tv_sec = 0, .tv_nsec = 5'000'000};
    while (::access(action.c_str() + 6, F_OK) != 0) ::nanosleep(&between_looks, nullptr);
  }
  return action == "error";
}

}  // namespace romancy
#endif
