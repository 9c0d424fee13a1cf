#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "common/io/line_stream.hpp"
#include "tests/unit/io_until.hpp"

namespace romancy::io {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A LineStream that records, and the other end of its socket.
struct Recorder {
  Loop& loop;
  std::vector<std::string> lines, closed;
  int drained = 0;
  UniqueFd far;
  std::unique_ptr<LineStream> stream;

  explicit Recorder(Loop& on, LineCaps caps = {}) : loop(on) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    far.reset(fds[1]);
    stream = std::make_unique<LineStream>(loop, UniqueFd(fds[0]), caps,
                                          LineStream::Handlers{
                                              .on_line = [this](auto line) { lines.emplace_back(line); },
                                              .on_close = [this](auto why) { closed.emplace_back(why); },
                                              .on_drained = [this] { ++drained; }});
  }
  void say(std::string_view bytes) const {
    EXPECT_EQ(::send(far.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // What has arrived at the other end so far.
  std::string hear() const {
    std::string heard;
    char buffer[65536];
    for (ssize_t n; (n = ::recv(far.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;)
      heard.append(buffer, static_cast<std::size_t>(n));
    return heard;
  }
};

class Paths : public testing::Test {
 protected:
  Paths() {
    char name[] = "/tmp/romancy-io-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  ~Paths() override { fs::remove_all(dir_); }
  [[nodiscard]] std::string at(const std::string& name) const { return dir_ + "/" + name; }
  std::string dir_;
};
using ListenUnix = Paths;
using UnixServerTest = Paths;

TEST(LineStream, LinesAreWholeAndInOrderHoweverTheyArrive) {
  Loop loop;
  Recorder r(loop);
  r.say("one\ntw");
  run_until(loop, [&] { return r.lines.size() == 1; });
  r.say("o");
  r.say("\n\nfour\nrest");
  run_until(loop, [&] { return r.lines.size() == 4; });
  EXPECT_THAT(r.lines, ElementsAre("one", "two", "", "four"));
}

TEST(LineStream, LineOfTheLongestLengthPassesAndOneByteMoreCloses) {
  Loop loop;
  Recorder r(loop, {.max_line = 100'000});
  const std::string longest(100'000, 'x');
  r.say(longest + "\n");
  run_until(loop, [&] { return r.lines.size() == 1; });
  EXPECT_EQ(r.lines[0], longest);
  r.say(longest + "y");  // not even ended
  run_until(loop, [&] { return !r.closed.empty(); });
  EXPECT_THAT(r.closed, ElementsAre(HasSubstr("longer than 100000")));
  EXPECT_EQ(r.lines.size(), 1u);
}

TEST(LineStream, EndOfFileClosesAfterTheLastLineWithoutTheUnfinishedOne) {
  Loop loop;
  Recorder r(loop);
  r.say("last\nunfinished");
  r.far.reset();
  run_until(loop, [&] { return !r.closed.empty(); });
  EXPECT_THAT(r.lines, ElementsAre("last"));
  EXPECT_EQ(r.closed.size(), 1u);
  EXPECT_FALSE(r.stream->send("x"));
}

TEST(LineStream, LinesOfOneTurnLeaveTogether) {
  Loop loop;
  Recorder r(loop);
  ASSERT_TRUE(r.stream->send("a"));
  ASSERT_TRUE(r.stream->send("b"));
  EXPECT_EQ(r.stream->queued_bytes(), 4u);
  std::string heard;
  run_until(loop, [&] { return !(heard += r.hear()).empty(); });
  EXPECT_EQ(heard, "a\nb\n");
  EXPECT_EQ(r.stream->queued_bytes(), 0u);
}

TEST(LineStream, FullQueueTakesNothingOfTheLineAndNothingIsLostOrReordered) {
  Loop loop;
  Recorder r(loop, {.max_queue = 400'000});
  int sent = 0;
  bool full = false;
  // Nobody reads: first the kernel fills, then the queue.
  run_until(loop, [&] {
    for (int i = 0; i < 100 && !full; ++i) {
      full = !r.stream->send(std::to_string(sent) + std::string(1000, '.'));
      if (!full) ++sent;
    }
    return full;
  });
  EXPECT_LE(r.stream->queued_bytes(), 400'000u);
  EXPECT_EQ(r.drained, 0);
  std::string heard;
  run_until(loop, [&] {
    heard += r.hear();
    return r.drained == 1;
  });
  EXPECT_EQ(r.stream->queued_bytes(), 0u);
  heard += r.hear();
  std::string expected;
  for (int i = 0; i < sent; ++i) expected += std::to_string(i) + std::string(1000, '.') + "\n";
  EXPECT_EQ(heard.size(), expected.size());
  EXPECT_TRUE(heard == expected);
  EXPECT_TRUE(r.stream->send("again"));
}

TEST(LineStream, CloseGivesTheLastWordsOneTryAndTellsOnceAndLater) {
  Loop loop;
  Recorder r(loop);
  ASSERT_TRUE(r.stream->send("bye"));
  r.stream->close();
  r.stream->close();
  EXPECT_THAT(r.closed, IsEmpty());
  run_until(loop, [&] { return !r.closed.empty(); });
  EXPECT_EQ(r.hear(), "bye\n");
  bool later = false;
  loop.post([&] { later = true; });
  run_until(loop, [&] { return later; });
  EXPECT_THAT(r.closed, ElementsAre("closed"));
}

TEST(LineStream, ThePeersLastWordsAreHeardThoughOurWriteFails) {
  Loop loop;
  Recorder r(loop);
  ASSERT_TRUE(r.stream->send("hello"));
  r.say("refused\n");
  r.far.reset();
  run_until(loop, [&] { return !r.closed.empty(); });
  EXPECT_THAT(r.lines, ElementsAre("refused"));
}

TEST(LineStream, EveryCallbackMayDestroyItAndIsTheLastOne) {
  for (const std::string_view where : {"line", "close", "drained"}) {
    Loop loop;
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    const UniqueFd far(fds[1]);
    std::unique_ptr<LineStream> doomed;
    const auto captured = std::make_shared<int>(7);
    const auto come = [&, captured](std::string_view here) {
      EXPECT_NE(doomed, nullptr) << here;
      if (here == where) doomed.reset();
      EXPECT_EQ(*captured, 7);  // what runs outlives the LineStream until it returns
    };
    doomed = std::make_unique<LineStream>(loop, UniqueFd(fds[0]), LineCaps{.max_queue = 8u << 20},
                                          LineStream::Handlers{.on_line = [=](auto) { come("line"); },
                                                               .on_close = [=](auto) { come("close"); },
                                                               .on_drained = [=] { come("drained"); }});
    if (where == "line") {
      ASSERT_EQ(::send(far.get(), "one\ntwo\n", 8, 0), 8);
    } else if (where == "close") {
      doomed->close();
    } else {
      ASSERT_TRUE(doomed->send(std::string(4u << 20, 'x')));  // more than the kernel takes at once
    }
    run_until(loop, [&] {
      char buffer[65536];
      while (::recv(far.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
      }
      return doomed == nullptr;
    });
  }
}

TEST(LineStream, DestroyedAfterCloseItTellsNothing) {
  Loop loop;
  Recorder r(loop);
  r.stream->close();
  r.stream.reset();
  bool later = false;
  loop.at_turn_end([&] { loop.post([&] { later = true; }); });
  run_until(loop, [&] { return later; });
  EXPECT_THAT(r.closed, IsEmpty());
}

TEST(LineStream, PeerIsWhoConnected) {
  Loop loop;
  Recorder r(loop);
  EXPECT_EQ(r.stream->peer().pid, ::getpid());
  EXPECT_EQ(r.stream->peer().uid, ::getuid());
  EXPECT_EQ(r.stream->peer().gid, ::getgid());
}

TEST_F(ListenUnix, SocketIsForOwnerAndGroupAndClosedOnExec) {
  const auto fd = listen_unix(at("hub.sock"));
  ASSERT_TRUE(fd) << fd.error().text;
  struct stat info {};
  ASSERT_EQ(::stat(at("hub.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0660u);
  EXPECT_TRUE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_TRUE(::fcntl(fd->get(), F_GETFL) & O_NONBLOCK);
}

TEST_F(ListenUnix, StaleSocketIsReplacedAndALiveOneIsNot) {
  auto first = listen_unix(at("hub.sock"));
  ASSERT_TRUE(first);
  const auto second = listen_unix(at("hub.sock"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::refuse);
  EXPECT_THAT(second.error().text, HasSubstr("somebody else listens"));
  first->reset();  // as a killed server leaves it: the file stays
  EXPECT_TRUE(listen_unix(at("hub.sock")));
}

TEST_F(ListenUnix, PathTooLongOrNotASocketIsRefused) {
  const std::string exact = at(std::string(107 - at("").size(), 'x'));
  EXPECT_EQ(exact.size(), 107u);
  EXPECT_TRUE(listen_unix(exact));
  const auto longer = listen_unix(exact + "x");
  ASSERT_FALSE(longer);
  EXPECT_THAT(longer.error().text, HasSubstr("107 bytes"));
  std::ofstream(at("file")) << "precious";
  const auto file = listen_unix(at("file"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text, HasSubstr("not a socket"));
  EXPECT_TRUE(fs::exists(at("file")));
}

TEST_F(ListenUnix, ConnectWhereNobodyListensIsTryAgain) {
  const auto absent = connect_unix(at("absent.sock"));
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().kind, ErrorKind::retry);
  listen_unix(at("stale.sock"))->reset();
  const auto stale = connect_unix(at("stale.sock"));
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().kind, ErrorKind::retry);
}

TEST_F(UnixServerTest, AcceptsAndSpeaksLinesBothWays) {
  Loop loop;
  std::unique_ptr<LineStream> server_side;
  std::string heard, answered;
  UnixServer server(loop, std::move(*listen_unix(at("s"))), [&](UniqueFd connected, Peer peer) {
    EXPECT_EQ(peer.pid, ::getpid());
    server_side = std::make_unique<LineStream>(
        loop, std::move(connected), LineCaps{},
        LineStream::Handlers{.on_line =
                                 [&](auto line) {
                                   heard = line;
                                   EXPECT_TRUE(server_side->send("pong"));
                                 },
                             .on_close = [](auto) {},
                             .on_drained = nullptr});
  });
  auto connected = connect_unix(at("s"));
  ASSERT_TRUE(connected);
  LineStream client(loop, std::move(*connected), {},
                    {.on_line = [&](auto line) { answered = line; }, .on_close = [](auto) {}, .on_drained = nullptr});
  ASSERT_TRUE(client.send("ping"));
  run_until(loop, [&] { return answered == "pong"; });
  EXPECT_EQ(heard, "ping");
}

TEST_F(UnixServerTest, OnConnectMayDestroyTheServer) {
  Loop loop;
  std::unique_ptr<UnixServer> server;
  auto listening = listen_unix(at("s"));
  ASSERT_TRUE(listening);
  int accepted = 0;
  server = std::make_unique<UnixServer>(loop, std::move(*listening), [&](UniqueFd, Peer) {
    ++accepted;
    server.reset();
  });
  const auto one = connect_unix(at("s")), two = connect_unix(at("s"));
  ASSERT_TRUE(one && two);
  run_until(loop, [&] { return server == nullptr; });
  EXPECT_EQ(accepted, 1);
}

TEST_F(UnixServerTest, WithoutDescriptorsAClientIsTurnedAwayAndTheServerLives) {
#ifdef ROMANCY_SANITIZE
  GTEST_SKIP() << "the sanitizer's own checks need descriptors, and take their lack for a fault of ours";
#endif
  Loop loop;
  std::vector<UniqueFd> accepted;
  UnixServer server(loop, std::move(*listen_unix(at("s"))),
                    [&](UniqueFd connected, Peer) { accepted.push_back(std::move(connected)); });
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  UniqueFd client;
  run_until(loop, [&] {
    if (!client) {
      client = std::move(*connect_unix(at("s")));
      // All numbers below the lowest free one are in use, and no other may be given out.
      const UniqueFd lowest_free(::fcntl(client.get(), F_DUPFD_CLOEXEC, 0));
      const rlimit none{.rlim_cur = static_cast<rlim_t>(lowest_free.get()), .rlim_max = before.rlim_max};
      EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    }
    char byte = 0;
    return ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0;
  });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(accepted.size(), 0u);
  client = std::move(*connect_unix(at("s")));
  run_until(loop, [&] { return accepted.size() == 1; });
}

}  // namespace
}  // namespace romancy::io
