// What a receiver of events answers, byte for byte: the relay's sink comes to one verdict about it, in time.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <thread>

#include "common/base/unique_fd.hpp"
#include "relay/delivery.hpp"
#include "relay/sink_http.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace romancy;
using fuzz::require;

namespace {

// Answers every request with the same bytes, and closes.
class Receiver {
 public:
  Receiver() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    require(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(listening_.get(), 16) == 0 &&
                ::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0,
            "listen");
    port = ntohs(address.sin_port);
    std::thread([this] { serve(); }).detach();  // lives as long as the process
  }
  void answer(std::string bytes) {
    const std::lock_guard lock(mutex_);
    bytes_ = std::move(bytes);
  }
  int port = 0;

 private:
  void serve() {
    for (;;) {
      const UniqueFd peer(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) continue;
      std::array<char, 8192> request;
      std::string all;
      while (all.find("\r\n\r\n{}") == std::string::npos) {
        const ssize_t got = ::recv(peer.get(), request.data(), request.size(), 0);
        if (got <= 0) break;
        all.append(request.data(), static_cast<std::size_t>(got));
      }
      std::string bytes;
      {
        const std::lock_guard lock(mutex_);
        bytes = bytes_;
      }
      // Cut short when the other side has heard enough.
      static_cast<void>(::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
    }
  }
  UniqueFd listening_;
  std::mutex mutex_;
  std::string bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Receiver& receiver = *new Receiver;
  receiver.answer(std::string(fuzz::text(data, size)));
  io::Loop loop;
  relay::HttpSink sink(loop, {.url = "http://127.0.0.1:" + std::to_string(receiver.port) + "/", .timeout = std::chrono::seconds(5), .parallel = 1});
  int answers = 0;
  sink.send({{{"content-type", "application/json"}}, "{}"}, [&](const relay::Answer& answer, std::chrono::nanoseconds) {
    ++answers;
    require(answer.status == 0 || (answer.status >= 100 && answer.status < 600), "a status has three digits");
    for (const char c : answer.error) require(c >= 0x20 && c < 0x7f, "what is kept of it can be logged");
    require(answer.error.size() <= 2 * relay::kKeptBody + 512, "and is short");
    const relay::RetryRule rule{std::chrono::milliseconds(100), std::chrono::milliseconds(10'000), 0};
    const relay::Verdict verdict = relay::judge(answer, 3, rule, 0.5);
    require((verdict.fate == relay::Fate::delivered) == (answer.status >= 200 && answer.status < 300), "only 2xx is delivered");
    require(verdict.wait >= std::chrono::milliseconds(0) && verdict.wait <= relay::kLongestRetryAfter + std::chrono::seconds(1), "no wait without end");
    loop.stop();
  });
  loop.run();
  require(answers == 1, "one request, one answer");
  return 0;
}
