#include "common/base/ids.hpp"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <limits>

#include "common/base/check.hpp"
#include "common/base/errno_text.hpp"

namespace romancy {
namespace {

void fill_random(void* to, std::size_t size) {
  auto* at = static_cast<unsigned char*>(to);
  while (size > 0) {
    const ssize_t got = ::getrandom(at, size, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      broken("the kernel gives no random numbers", errno_text(errno));
    }
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace

std::int64_t random_session_id() {
  for (;;) {
    std::uint64_t bits = 0;
    fill_random(&bits, sizeof bits);
    bits &= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (bits != 0) return static_cast<std::int64_t>(bits);
  }
}

std::string random_uuid() {
  std::array<unsigned char, 16> bytes{};
  fill_random(bytes.data(), bytes.size());
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);  // version 4 (RFC 9562, 5.4)
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);  // its variant
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[bytes[i] >> 4];
    text += kHex[bytes[i] & 0x0f];
  }
  return text;
}

}  // namespace romancy
