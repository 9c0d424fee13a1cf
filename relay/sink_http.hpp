// HttpSink: POSTs messages to one URL, many at once, on the loop. The only door to libcurl.
//
// Promise: every send() is answered exactly once, on the loop, at the latest after the time-out; never from within
//          send(). Destroying the sink drops what is under way without an answer.
// What it does not do: follow redirects, use a proxy from the environment, speak anything but http and https, read more
//          than 64 kB of an answer's body (the status counts; the connection is then closed).
// Connections are kept and used again. TLS is verified against the system's certificates.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/io/loop.hpp"
#include "relay/cloud_event.hpp"
#include "relay/delivery.hpp"

namespace romancy::relay {

inline constexpr std::size_t kMostBody = 64u << 10;  // bytes of an answer that are read
inline constexpr std::size_t kKeptBody = 200;        // bytes of it that are kept, for last_error

// http:// or https:// with a host; the error names what is wrong.
Result<void> check_sink_url(const std::string& url);

class HttpSink {
 public:
  struct Options {
    std::string url;
    std::chrono::milliseconds timeout{};  // of the whole exchange
    int parallel = 1;                     // connections at most; more sends wait inside
  };
  using Reply = std::function<void(Answer answer, std::chrono::nanoseconds took)>;

  HttpSink(io::Loop& loop, Options options);
  ~HttpSink();
  HttpSink(const HttpSink&) = delete;
  HttpSink& operator=(const HttpSink&) = delete;

  void send(Message message, Reply reply);
  [[nodiscard]] std::size_t under_way() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace romancy::relay
