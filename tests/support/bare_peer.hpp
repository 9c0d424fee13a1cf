// BarePeer: one end of a Unix socket that does only what the test says: reads when it is told to, and says any bytes.
#pragma once
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/io/line_stream.hpp"

namespace romancy::test {

class BarePeer {
 public:
  explicit BarePeer(UniqueFd fd) : fd_(std::move(fd)) {}
  static BarePeer connect(const std::string& path) {
    auto fd = io::connect_unix(path);
    EXPECT_TRUE(fd.has_value()) << path;
    return BarePeer(fd ? std::move(*fd) : UniqueFd());
  }
  void say(const std::string& line) {
    const std::string text = line + "\n";
    ASSERT_EQ(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Any bytes, and whether they were taken: the other side may have hung up by now.
  [[nodiscard]] bool try_say(const std::string& bytes) const {
    return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(bytes.size());
  }
  [[nodiscard]] bool eof() {
    read();
    return eof_;
  }
  // All whole lines until now. Never blocks.
  [[nodiscard]] const std::vector<std::string>& lines() {
    read();
    return lines_;
  }
  [[nodiscard]] int count(const std::string& line) {
    int number = 0;
    for (const auto& one : lines()) number += one == line ? 1 : 0;
    return number;
  }
  void forget() { lines_.clear(); }
  void hang_up() { fd_.reset(); }

 private:
  void read() {
    std::array<char, 65536> buffer;
    while (!eof_) {
      const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got > 0) in_.append(buffer.data(), static_cast<std::size_t>(got));
      else if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
      else eof_ = true;
    }
    for (auto end = in_.find('\n'); end != std::string::npos; end = in_.find('\n')) {
      lines_.push_back(in_.substr(0, end));
      in_.erase(0, end + 1);
    }
  }

  UniqueFd fd_;
  std::string in_;
  std::vector<std::string> lines_;
  bool eof_ = false;
};

}  // namespace romancy::test
