// HttpServer: a small scripted HTTP/1.1 server on 127.0.0.1, for tests that deliver to one.
//
// Every request is handed to the script, on a thread of its connection; what the script returns goes out byte for byte,
// so a test can also answer nonsense. Connections are kept open.
#pragma once
#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace romancy::test {

struct HttpRequest {
  std::string method, target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

// "HTTP/1.1 200 OK .." with a Content-Length; `headers` are whole lines ending in \r\n.
std::string http_answer(int status, const std::string& body = "", const std::string& headers = "");
inline const std::string kHangUp;            // close without an answer
inline const std::string kSilence = "\x01";  // no answer at all, until the client or the server goes

class HttpServer {
 public:
  using Script = std::function<std::string(const HttpRequest&)>;
  explicit HttpServer(Script script, int port = 0);  // 0: any
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/events"; }
  [[nodiscard]] std::vector<HttpRequest> requests() const;
  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] std::size_t count(const std::string& header, const std::string& value) const;
  [[nodiscard]] int connections() const { return connections_; }

 private:
  void accept_all();
  void serve(int fd);

  const Script script_;
  int listening_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  std::list<int> open_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace romancy::test
