#include "supervisor/handover.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "common/base/errno_text.hpp"

namespace romancy::supervisor {
namespace {

constexpr JsonCaps kCaps{.bytes = 4u << 20, .depth = 8};

}  // namespace

Result<UniqueFd> write_handover(const Json& state) {
  UniqueFd fd(::memfd_create("romancy-handover", MFD_CLOEXEC));
  if (!fd) return try_again(std::string("memfd: ") + errno_text(errno));
  const std::string text = dump_json(state);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::pwrite(fd.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return try_again(std::string("memfd: ") + errno_text(errno));
    done += static_cast<std::size_t>(wrote);
  }
  return fd;
}

Result<Json> read_handover(int fd) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(std::string("handover: ") + errno_text(errno));
    if (got == 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > kCaps.bytes) return refuse("handover: too long");
  }
  auto state = parse_json(text, "handover", kCaps);
  if (!state) return state;
  if (!state->is_object() || state->value("version", 0) != kHandoverVersion) {
    return refuse("handover: this program understands version " + std::to_string(kHandoverVersion) + ", not " +
                  (state->is_object() ? std::to_string(state->value("version", 0)) : "that"));
  }
  for (const char* name : {"path", "in_effect", "lock", "board", "hub", "control", "started_at", "level", "children", "leaving"}) {
    if (!state->contains(name)) return refuse(std::string("handover: ") + name + " is missing");
  }
  return state;
}

bool keep_over_exec(int fd, bool keep) { return ::fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC) == 0; }

}  // namespace romancy::supervisor
