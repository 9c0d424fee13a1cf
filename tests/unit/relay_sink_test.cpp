// HttpSink against a real server on the loopback interface.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <memory>

#include "common/io/alarm.hpp"
#include "relay/sink_http.hpp"
#include "tests/process/relay_http_server.hpp"

namespace romancy::relay {
namespace {

using namespace std::chrono_literals;
using test::http_answer;
using test::HttpRequest;
using test::HttpServer;

class Sink : public testing::Test {
 protected:
  void open(const std::string& url, std::chrono::milliseconds timeout = 30s, int parallel = 4) {
    sink_ = std::make_unique<HttpSink>(loop_, HttpSink::Options{.url = url, .timeout = timeout, .parallel = parallel});
  }

  void send(const std::string& body = "{}") {
    ++asked_;
    const std::size_t before = answers_.size();
    sink_->send({{{"ce-id", "1"}, {"content-type", "application/json"}}, body},
                [this](Answer answer, std::chrono::nanoseconds) {
                  answers_.push_back(std::move(answer));
                  if (answers_.size() == asked_) loop_.stop();
                });
    EXPECT_EQ(answers_.size(), before) << "never from within send()";
  }

  Answer ask(const std::string& body = "{}") {
    send(body);
    run();
    return answers_.empty() ? Answer{} : answers_.back();
  }

  void run() {
    io::Alarm guard(loop_, [this] {
      ADD_FAILURE() << "no answer";
      loop_.stop();
    });
    guard.set_in(60s);
    loop_.run();
  }

  io::Loop loop_;
  std::unique_ptr<HttpSink> sink_;
  std::vector<Answer> answers_;
  std::size_t asked_ = 0;
};

TEST_F(Sink, PostsHeadersAndBody) {
  HttpServer server([](const HttpRequest&) { return http_answer(204); });
  open(server.url());
  EXPECT_EQ(ask(R"({"n":9007199254740993})").status, 204);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].target, "/events");
  EXPECT_EQ(requests[0].body, R"({"n":9007199254740993})");
  EXPECT_EQ(requests[0].headers.at("ce-id"), "1");
  EXPECT_EQ(requests[0].headers.at("content-type"), "application/json");
  EXPECT_THAT(requests[0].headers.at("user-agent"), testing::StartsWith("romancyd/"));
  EXPECT_FALSE(requests[0].headers.contains("expect"));
}

TEST_F(Sink, AConnectionIsUsedAgain) {
  HttpServer server([](const HttpRequest&) { return http_answer(200, "ok"); });
  open(server.url());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask().status, 200);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(Sink, ManyAreUnderWayAtOnce) {
  std::atomic<int> waiting = 0;
  HttpServer server([&](const HttpRequest&) {
    ++waiting;
    while (waiting < 4) std::this_thread::yield();  // all four, or the guard
    return http_answer(204);
  });
  open(server.url());
  for (int i = 0; i < 4; ++i) send();
  EXPECT_EQ(sink_->under_way(), 4u);
  run();
  EXPECT_EQ(answers_.size(), 4u);
  EXPECT_EQ(sink_->under_way(), 0u);
}

TEST_F(Sink, ABigBodyArrivesWhole) {
  HttpServer server([](const HttpRequest&) { return http_answer(204); });
  open(server.url());
  const std::string big = "\"" + std::string(5u << 20, 'x') + "\"";
  EXPECT_EQ(ask(big).status, 204);
  EXPECT_EQ(server.requests().at(0).body, big);
}

TEST_F(Sink, TheBeginningOfAnErrorsBodyIsKept) {
  HttpServer server([](const HttpRequest&) { return http_answer(500, "no\ndisk" + std::string(1000, '.')); });
  open(server.url());
  const Answer answer = ask();
  EXPECT_EQ(answer.status, 500);
  EXPECT_THAT(answer.error, testing::StartsWith("no disk"));
  EXPECT_LE(answer.error.size(), kKeptBody);
}

TEST_F(Sink, RetryAfterIsRead) {
  std::string headers;
  HttpServer server([&](const HttpRequest&) { return http_answer(503, "", headers); });
  open(server.url());
  headers = "Retry-After: 7\r\n";
  EXPECT_EQ(ask().retry_after, 7s);
  headers = "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2015 07:29:30 GMT\r\n";
  EXPECT_EQ(ask().retry_after, 90s) << "by the sink's clock, not by ours";
  headers = "Retry-After: Wed, 21 Oct 2015 07:29:30 GMT\r\n";
  EXPECT_FALSE(ask().retry_after) << "without its clock the date means nothing";
  headers = "Retry-After: soon\r\n";
  EXPECT_FALSE(ask().retry_after);
  headers = "Retry-After: 99999999999999999999\r\n";
  EXPECT_EQ(ask().retry_after, std::chrono::seconds::max());
}

TEST_F(Sink, RedirectsAreNotFollowed) {
  HttpServer elsewhere([](const HttpRequest&) { return http_answer(204); });
  HttpServer server([&](const HttpRequest&) { return http_answer(307, "", "Location: " + elsewhere.url() + "\r\n"); });
  open(server.url());
  EXPECT_EQ(ask().status, 307);
  EXPECT_EQ(elsewhere.count(), 0u);
}

TEST_F(Sink, ProxiesOfTheEnvironmentAreIgnored) {
  HttpServer proxy([](const HttpRequest&) { return http_answer(204); });
  HttpServer server([](const HttpRequest&) { return http_answer(204); });
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  ::setenv("ALL_PROXY", proxy.url().c_str(), 1);
  open(server.url());
  EXPECT_EQ(ask().status, 204);
  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
  EXPECT_EQ(proxy.count(), 0u);
  EXPECT_EQ(server.count(), 1u);
}

TEST_F(Sink, SilenceIsATimeOut) {
  HttpServer server([](const HttpRequest&) { return test::kSilence; });
  open(server.url(), 50ms);
  const Answer answer = ask();
  EXPECT_EQ(answer.status, 0);
  EXPECT_THAT(answer.error, testing::HasSubstr("timed out"));
}

TEST_F(Sink, NobodyThereIsNoAnswer) {
  int port = 0;
  {
    port = HttpServer([](const HttpRequest&) { return http_answer(204); }).port();
  }
  open("http://127.0.0.1:" + std::to_string(port));
  const Answer answer = ask();
  EXPECT_EQ(answer.status, 0);
  EXPECT_FALSE(answer.error.empty());
}

TEST_F(Sink, AHangUpIsNoAnswer) {
  HttpServer server([](const HttpRequest&) { return test::kHangUp; });
  open(server.url());
  EXPECT_EQ(ask().status, 0);
}

TEST_F(Sink, AnEndlessAnswerIsCutAndItsStatusCounts) {
  HttpServer server([](const HttpRequest&) {
    return "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + std::string(kMostBody + 1, 'x');
  });
  open(server.url());
  EXPECT_EQ(ask().status, 200);
}

TEST_F(Sink, NonsenseIsNoAnswer) {
  HttpServer server([](const HttpRequest&) { return std::string("220 smtp.example ready\r\n"); });
  open(server.url(), 2s);
  EXPECT_EQ(ask().status, 0);
}

TEST_F(Sink, MayBeDestroyedWhileRequestsAreUnderWay) {
  HttpServer server([](const HttpRequest&) { return test::kSilence; });
  open(server.url());
  sink_->send({{}, "{}"}, [](Answer, std::chrono::nanoseconds) { ADD_FAILURE() << "an answer after the end"; });
  io::Alarm look(loop_, [&] {
    if (server.count() == 0) return look.set_in(1ms);
    sink_.reset();
    loop_.stop();
  });
  look.set_in(0ms);
  loop_.run();
}

TEST_F(Sink, MayBeDestroyedByAReply) {
  HttpServer server([](const HttpRequest&) { return http_answer(204); });
  open(server.url());
  sink_->send({{}, "{}"}, [&](Answer, std::chrono::nanoseconds) {
    sink_.reset();
    loop_.stop();
  });
  run();
  EXPECT_FALSE(sink_);
}

TEST(SinkUrl, HttpAndHttpsOnly) {
  EXPECT_TRUE(check_sink_url("http://127.0.0.1:8080/events"));
  EXPECT_TRUE(check_sink_url("https://broker.example/x?y=z"));
  for (const char* url :
       {"", "broker", "ftp://broker/x", "file:///etc/passwd", "http://", "http:// x/", "http://x:99999/"}) {
    const auto refused = check_sink_url(url);
    ASSERT_FALSE(refused) << url;
    EXPECT_THAT(refused.error().text, testing::StartsWith("relay.url: "));
  }
}

}  // namespace
}  // namespace romancy::relay
