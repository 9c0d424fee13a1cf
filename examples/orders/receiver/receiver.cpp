// orders_receiver: the shop's endpoint for CloudEvents, as small as a real one can be.
//
//   orders_receiver [--port N] [--port-file FILE] [--log FILE] [--fail-every N]
//
// Listens on 127.0.0.1 (port 0, the default: any; it is printed, and written to --port-file). Every POST must be a
// CloudEvent 1.0 in binary mode with a JSON body: 400 otherwise. An accepted one becomes one line of JSON in --log,
//   {"id":"..","type":"..","source":"..","time":"..","data":<the body as it came>}
// and is answered 204. Deliveries are at least once: the same id may come again, and is logged again; whoever reads the
// log counts each id once. --fail-every N answers every Nth arrival 503 without logging it, so that senders must retry.
// SIGTERM or SIGINT: stops, and prints how many came, were logged, were refused (400) and failed (503).
#include <fcntl.h>
#include <httplib.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

namespace {

struct Options {
  int port = 0;
  int fail_every = 0;  // 0: never
  std::string port_file, log;
};

int usage(const char* what) {
  std::fprintf(
      stderr,
      "orders_receiver: %s\nusage: orders_receiver [--port N] [--port-file FILE] [--log FILE] [--fail-every N]\n",
      what);
  return 64;
}

std::optional<int> number(std::string_view text, int highest) {
  int value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < 0 || value > highest) return std::nullopt;
  return value;
}

// What a ce-* header says: the HTTP binding percent-encodes what may not stand in a header.
std::string decode(const std::string& value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    unsigned byte = 0;
    if (value[i] == '%' && i + 2 < value.size() &&
        std::from_chars(value.data() + i + 1, value.data() + i + 3, byte, 16).ptr == value.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += value[i];
    }
  }
  return out;
}

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class Receiver {
 public:
  Receiver(int log, int fail_every) : log_(log), fail_every_(fail_every) {}

  void take(const httplib::Request& request, httplib::Response& response) {
    const long arrival = ++arrived_;
    if (fail_every_ > 0 && arrival % fail_every_ == 0) {
      ++failed_;
      response.status = 503;
      return response.set_content("not now\n", "text/plain");
    }
    if (const std::string wrong = check(request); !wrong.empty()) {
      ++refused_;
      response.status = 400;
      return response.set_content(wrong + "\n", "text/plain");
    }
    if (!record(request)) {
      response.status = 500;
      return response.set_content("the log cannot be written\n", "text/plain");
    }
    ++logged_;
    response.status = 204;
  }

  void report() const {
    std::printf("received %ld logged %ld refused %ld failed %ld\n", arrived_.load(), logged_.load(), refused_.load(),
                failed_.load());
  }

 private:
  static std::string check(const httplib::Request& request) {
    for (const char* name : {"ce-specversion", "ce-id", "ce-type", "ce-source"}) {
      if (request.get_header_value(name).empty()) return std::string(name) + ": is missing";
    }
    if (request.get_header_value("ce-specversion") != "1.0") return "ce-specversion: must be 1.0";
    if (request.get_header_value("content-type").find("json") == std::string::npos) return "content-type: must be JSON";
    if (!nlohmann::json::accept(request.body)) return "body: not JSON";
    return {};
  }

  // One write() of one whole line, so that lines of several threads never mix.
  bool record(const httplib::Request& request) {
    const auto field = [&](const char* header) { return quoted(decode(request.get_header_value(header))); };
    std::string line = "{\"id\":" + field("ce-id") + ",\"type\":" + field("ce-type") +
                       ",\"source\":" + field("ce-source") + ",\"time\":" + field("ce-time") +
                       ",\"data\":" + request.body + "}";
    for (char& c : line) {
      if (c == '\n' || c == '\r') c = ' ';  // in JSON only ever white space between tokens
    }
    line += '\n';
    const std::lock_guard lock(mutex_);
    return log_ < 0 || ::write(log_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  }

  const int log_;
  const int fail_every_;
  std::mutex mutex_;
  std::atomic<long> arrived_ = 0, logged_ = 0, refused_ = 0, failed_ = 0;
};

// Written whole or not at all: whoever waits for the file finds a port in it.
bool write_port(const std::string& path, int port) {
  const std::string draft = path + ".tmp";
  std::FILE* file = std::fopen(draft.c_str(), "we");
  if (!file) return false;
  const bool written = std::fprintf(file, "%d\n", port) > 0;
  return std::fclose(file) == 0 && written && std::rename(draft.c_str(), path.c_str()) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 >= argc) return usage((std::string(name) + ": unknown, or its value is missing").c_str());
    const std::string value = argv[i + 1];
    const auto parsed = number(value, name == "--port" ? 65535 : 1'000'000'000);
    if (name == "--log") options.log = value;
    else if (name == "--port-file") options.port_file = value;
    else if (name == "--port" && parsed) options.port = *parsed;
    else if (name == "--fail-every" && parsed) options.fail_every = *parsed;
    else return usage((std::string(name) + " " + value + ": unknown option or not a number").c_str());
  }

  // Blocked before any thread exists, so that only the thread that waits for them gets them.
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stops, nullptr);

  int log = -1;
  if (!options.log.empty()) {
    log = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) {
      std::fprintf(stderr, "orders_receiver: --log %s: %s\n", options.log.c_str(),
                   std::generic_category().message(errno).c_str());
      return 1;
    }
  }

  Receiver receiver(log, options.fail_every);
  httplib::Server server;
  server.set_payload_max_length(16u << 20);
  server.set_keep_alive_max_count(1'000'000);
  server.set_keep_alive_timeout(1);  // stopping waits for idle connections that long
  server.set_tcp_nodelay(true);
  // Each kept connection occupies a thread: more than any relay opens by default (parallel = 16), several relays fit.
  server.new_task_queue = [] { return new httplib::ThreadPool(64); };
  server.Post(".*",
              [&](const httplib::Request& request, httplib::Response& response) { receiver.take(request, response); });

  const int port = options.port == 0                                ? server.bind_to_any_port("127.0.0.1")
                   : server.bind_to_port("127.0.0.1", options.port) ? options.port
                                                                    : -1;
  if (port < 0) {
    std::fprintf(stderr, "orders_receiver: --port %d: cannot listen\n", options.port);
    return 1;
  }
  if (!options.port_file.empty() && !write_port(options.port_file, port)) {
    std::fprintf(stderr, "orders_receiver: --port-file %s: %s\n", options.port_file.c_str(),
                 std::generic_category().message(errno).c_str());
    return 1;
  }
  std::printf("listening on http://127.0.0.1:%d\n", port);
  std::fflush(stdout);

  std::thread stopper([&] {
    int signal = 0;
    sigwait(&stops, &signal);
    server.stop();
  });
  const bool listened = server.listen_after_bind();
  if (!listened) ::kill(::getpid(), SIGTERM);  // the accept loop broke: let the stopper end
  stopper.join();
  receiver.report();
  return listened ? 0 : 1;
}
