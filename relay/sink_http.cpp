#include "relay/sink_http.hpp"

#include <curl/curl.h>

#include <strings.h>
#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.hpp"
#include "common/base/test_point.hpp"
#include "common/io/alarm.hpp"
#include "common/io/watch.hpp"

namespace romancy::relay {
namespace {

using Clock = std::chrono::steady_clock;

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// Options are set from constants of ours, so a refusal means the wrong library or no memory.
void must(CURLcode code, const char* what) {
  if (code != CURLE_OK) [[unlikely]]
    broken(what, curl_easy_strerror(code));
}
void must(CURLMcode code, const char* what) {
  if (code != CURLM_OK) [[unlikely]]
    broken(what, curl_multi_strerror(code));
}

void init_once() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  must(done, "curl_global_init");
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// One request from send() to its answer. Pinned: libcurl holds pointers into it.
struct Exchange {
  HttpSink::Reply reply;
  std::string body;
  std::unique_ptr<curl_slist, FreeList> headers;
  std::unique_ptr<CURL, FreeEasy> easy;  // after what it points to: destroyed first
  Clock::time_point begun{};
  std::string retry_after, date;  // headers of the answer
  std::string kept;               // the beginning of its body
  std::size_t read = 0;
  char error[CURL_ERROR_SIZE] = "";
};

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size);
  const auto take = [line](std::string_view name, std::string& into) {
    if (line.size() > name.size() && strncasecmp(line.data(), name.data(), name.size()) == 0) {
      into = trim(line.substr(name.size()));
    }
  };
  take("retry-after:", exchange.retry_after);
  take("date:", exchange.date);
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.kept.append(data, std::min(size, kKeptBody - std::min(kKeptBody, exchange.kept.size())));
  exchange.read += size;
  return exchange.read > kMostBody ? 0 : size;  // 0: libcurl gives the transfer up
}

// Seconds, or a date: that is compared with the answer's own Date header, never with this host's clock.
std::optional<std::chrono::seconds> read_retry_after(const Exchange& exchange) {
  const std::string& text = exchange.retry_after;
  if (text.empty()) return std::nullopt;
  if (text.find_first_not_of("0123456789") == std::string::npos) {
    return text.size() > 9 ? std::chrono::seconds::max() : std::chrono::seconds(std::stol(text));
  }
  const time_t until = curl_getdate(text.c_str(), nullptr), now = curl_getdate(exchange.date.c_str(), nullptr);
  if (until < 0 || now < 0) return std::nullopt;
  return std::chrono::seconds(std::max<time_t>(until - now, 0));
}

// For last_error and logs: one line of printable ASCII.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = ' ';
  }
  return std::string(trim(text));
}

}  // namespace

struct HttpSink::State {
  State(io::Loop& on, Options with)
      : loop(on), options(std::move(with)), alarm(on, [this] { act(CURL_SOCKET_TIMEOUT, 0); }) {
    init_once();
    multi.reset(curl_multi_init());
    if (!multi) broken("curl_multi_init", "no memory");
    must(curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &State::on_socket), "CURLMOPT_SOCKETFUNCTION");
    must(curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this), "CURLMOPT_SOCKETDATA");
    must(curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &State::on_timer), "CURLMOPT_TIMERFUNCTION");
    must(curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, this), "CURLMOPT_TIMERDATA");
    const long most = std::max(1, options.parallel);
    must(curl_multi_setopt(multi.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, most), "CURLMOPT_MAX_TOTAL_CONNECTIONS");
    must(curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, most), "CURLMOPT_MAXCONNECTS");
  }

  ~State() {
    for (auto& [easy, exchange] : exchanges) curl_multi_remove_handle(multi.get(), easy);
    exchanges.clear();
    multi.reset();  // closes the kept connections, which asks on_socket to forget them
    watches.clear();
  }

  static int on_socket(CURL*, curl_socket_t fd, int what, void* user, void*) {
    auto& self = *static_cast<State*>(user);
    if (what == CURL_POLL_REMOVE) {
      self.watches.erase(fd);  // libcurl closes the descriptor after this, not before
      return 0;
    }
    auto& watch = self.watches[fd];
    if (!watch) {
      watch = std::make_unique<io::Watch>(self.loop, fd, [&self, fd](bool readable, bool writable) {
        self.act(fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
      });
    }
    watch->want((what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* user) {
    auto& self = *static_cast<State*>(user);
    if (timeout_ms < 0) self.alarm.cancel();
    else self.alarm.set_in(std::chrono::milliseconds(timeout_ms));  // also for 0: not from within libcurl
    return 0;
  }

  void act(curl_socket_t fd, int events) {
    int running = 0;
    must(curl_multi_socket_action(multi.get(), fd, events, &running), "curl_multi_socket_action");
    collect();
  }

  // Takes the finished exchanges out first and answers them last: a reply may send again, or destroy the sink.
  void collect() {
    std::vector<std::pair<std::unique_ptr<Exchange>, CURLcode>> finished;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* easy = message->easy_handle;
      const CURLcode code = message->data.result;  // the message dies with the next line
      curl_multi_remove_handle(multi.get(), easy);
      const auto found = exchanges.find(easy);
      finished.emplace_back(std::move(found->second), code);
      exchanges.erase(found);
    }
    if (!finished.empty()) static_cast<void>(ROMANCY_TEST_POINT("relay.send.after"));
    const auto now = Clock::now();
    for (auto& [exchange, code] : finished) exchange->reply(answer_of(*exchange, code), now - exchange->begun);
  }

  static Answer answer_of(const Exchange& exchange, CURLcode code) {
    Answer answer;
    long status = 0;
    curl_easy_getinfo(exchange.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    // A body that is too long, or breaks off, changes nothing about a status that has been read.
    // And libcurl reads more digits than a status has ("HTTP/2000 2000"): that is no HTTP.
    const bool sane = status >= 100 && status <= 599;
    const bool has_status = sane && (code == CURLE_OK || code == CURLE_WRITE_ERROR || code == CURLE_PARTIAL_FILE);
    if (has_status) {
      answer.status = static_cast<int>(status);
      answer.retry_after = read_retry_after(exchange);
      answer.error = printable(exchange.kept);
    } else if (code == CURLE_OK) {
      answer.error = "not an answer of HTTP: status " + std::to_string(status);
    } else {
      answer.error = exchange.error[0] != '\0' ? printable(exchange.error) : curl_easy_strerror(code);
    }
    return answer;
  }

  void send(Message message, Reply reply) {
    static_cast<void>(ROMANCY_TEST_POINT("relay.send.before"));
    auto exchange = std::make_unique<Exchange>();
    exchange->reply = std::move(reply);
    exchange->body = std::move(message.body);
    exchange->begun = Clock::now();
    const auto add_header = [&](const std::string& line) {
      curl_slist* list = curl_slist_append(exchange->headers.get(), line.c_str());
      if (!list) broken("curl_slist_append", "no memory");
      (void)exchange->headers.release();
      exchange->headers.reset(list);
    };
    for (const auto& [name, value] : message.headers) add_header(name + ": " + value);
    add_header("Expect:");  // no 100-continue: a round trip more, and some servers never answer it
    exchange->easy.reset(curl_easy_init());
    CURL* easy = exchange->easy.get();
    if (!easy) broken("curl_easy_init", "no memory");
    const auto set = [easy](CURLoption option, auto value) {
      must(curl_easy_setopt(easy, option, value), "curl_easy_setopt");
    };
    set(CURLOPT_URL, options.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_PROXY, "");  // not even from http_proxy
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(exchange->body.size()));
    set(CURLOPT_POSTFIELDS, exchange->body.c_str());
    set(CURLOPT_HTTPHEADER, exchange->headers.get());
    set(CURLOPT_USERAGENT, "romancyd/" ROMANCY_VERSION);
    const long timeout = static_cast<long>(std::max<std::chrono::milliseconds::rep>(options.timeout.count(), 1));
    set(CURLOPT_TIMEOUT_MS, timeout);
    set(CURLOPT_CONNECTTIMEOUT_MS, timeout);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_HEADERFUNCTION, &on_header);
    set(CURLOPT_HEADERDATA, exchange.get());
    set(CURLOPT_WRITEFUNCTION, &on_body);
    set(CURLOPT_WRITEDATA, exchange.get());
    set(CURLOPT_ERRORBUFFER, &exchange->error[0]);
    exchanges.emplace(easy, std::move(exchange));
    must(curl_multi_add_handle(multi.get(), easy), "curl_multi_add_handle");  // asks on_timer to start it
  }

  io::Loop& loop;
  const Options options;
  io::Alarm alarm;
  std::map<curl_socket_t, std::unique_ptr<io::Watch>> watches;
  std::unique_ptr<CURLM, FreeMulti> multi;
  std::map<CURL*, std::unique_ptr<Exchange>> exchanges;
};

HttpSink::HttpSink(io::Loop& loop, Options options) : state_(std::make_unique<State>(loop, std::move(options))) {}
HttpSink::~HttpSink() = default;

void HttpSink::send(Message message, Reply reply) {
  state_->send(std::move(message), std::move(reply));
}
std::size_t HttpSink::under_way() const {
  return state_->exchanges.size();
}

Result<void> check_sink_url(const std::string& url) {
  init_once();
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl_url());
  if (!parsed) broken("curl_url", "no memory");
  if (const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0); code != CURLUE_OK) {
    return refuse(std::string("relay.url: not a URL: ") + curl_url_strerror(code));
  }
  char* scheme = nullptr;
  curl_url_get(parsed.get(), CURLUPART_SCHEME, &scheme, 0);
  const std::string found = scheme ? scheme : "";
  curl_free(scheme);
  if (found != "http" && found != "https") return refuse("relay.url: scheme '" + found + "'; http or https is needed");
  return {};
}

}  // namespace romancy::relay
