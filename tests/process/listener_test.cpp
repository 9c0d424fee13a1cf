// The real romancy-listener against a real PostgreSQL, and bare sockets as its subscribers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "common/base/test_point.hpp"
#include "tests/process/listener_stage.hpp"
#include "tests/support/proxy.hpp"

namespace romancy::test {
namespace {

TEST_F(ListenerProcess, StartedByHandAloneItHandsOnEveryKindOfNotification) {
  start();
  auto peer = live_observer();
  notify("workflow_resumable", R"({"instance_id":"i","workflow_name":"w"})");
  notify("timer_expired", R"({"instance_id":"i","timer_id":"sleep:3","expires_at":"2030-01-01T00:00:00Z"})");
  notify("channel_message", R"({"channel_name":"c","message_id":4})");
  notify("outbox_pending", R"({"event_id":"e"})");
  notify("outbox_pending", "");
  ASSERT_TRUE(eventually([&] { return peer.lines().size() == 5; })) << listener_->log();
  EXPECT_EQ(peer.lines(),
            (std::vector<std::string>{
                R"({"wake":"workflow_resumable","payload":{"instance_id":"i","workflow_name":"w"}})",
                // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one text in two lines
                R"({"wake":"timer_expired","payload":{"expires_at":"2030-01-01T00:00:00Z","instance_id":"i",)"
                R"("timer_id":"sleep:3"}})",
                R"({"wake":"channel_message","payload":{"channel_name":"c","message_id":4}})",
                R"({"wake":"outbox_pending","payload":{"event_id":"e"}})",
                R"({"wake":"outbox_pending","payload":{}})"}));
  EXPECT_TRUE(listener_->logged("PostgreSQL LISTEN/NOTIFY configured fallback_interval=30s reconnect_delay=100ms "
                                "reconnect_delay_max=60s"));
  EXPECT_TRUE(listener_->logged("PostgreSQL LISTEN/NOTIFY connection established"));
  EXPECT_EQ(listener_->terminate(), 0);
  EXPECT_TRUE(peer.eof());
}

TEST_F(ListenerProcess, ForgeriesAndStrangersChannelsAreNotHandedOn) {
  start();
  auto peer = live_observer();
  notify("workflow_resumable", "not json");
  notify("workflow_resumable", "[1]");
  const auto stranger = sql_->query("SELECT pg_notify($1, '{}')", pg::Params("x" + schema_ + "_workflow_resumable"));
  ASSERT_TRUE(stranger.has_value());
  notify("workflow_resumable", R"({"honest":true})");
  ASSERT_TRUE(eventually([&] { return !peer.lines().empty(); }));
  EXPECT_EQ(peer.lines(),
            (std::vector<std::string>{R"({"wake":"workflow_resumable","payload":{"honest":true}})"}));
  EXPECT_TRUE(listener_->logged("notification dropped"));
}

TEST_F(ListenerProcess, AfterALostConnectionSubscribersAreToldTheGapBeforeTheNextWake) {
  start("reconnect_delay = \"10ms\"\nheartbeat_interval = \"100ms\"\n");
  auto peer = live_observer();
  std::atomic<bool> stop = false;
  std::thread speaker([&] {  // speaks through the gap
    auto sql = connect();
    ASSERT_TRUE(sql.has_value());
    for (int i = 0; !stop; ++i) {
      const auto payload = R"({"instance_id":"i)" + std::to_string(i) + R"("})";
      EXPECT_TRUE(sql->query("SELECT pg_notify($1, $2)", pg::Params(schema_ + "_workflow_resumable", payload)));
    }
  });
  for (int round = 1; round <= 5; ++round) {
    terminate_backend();
    if (!eventually([&] { return peer.count(kGap) == round; })) {
      ADD_FAILURE() << listener_->log();
      break;
    }
  }
  const auto seen = peer.lines().size();
  EXPECT_TRUE(eventually([&] { return peer.lines().size() > seen; }));  // wakes go on
  stop = true;
  speaker.join();
  const auto& lines = peer.lines();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), kDeaf), 5);
  for (auto deaf = std::find(lines.begin(), lines.end(), kDeaf); deaf != lines.end();
       deaf = std::find(deaf + 1, lines.end(), kDeaf)) {
    ASSERT_GE(lines.end() - deaf, 3);
    EXPECT_EQ(*(deaf + 1), kLive);
    EXPECT_EQ(*(deaf + 2), kGap);
  }
  EXPECT_TRUE(listener_->logged("LISTEN/NOTIFY connection lost, reconnecting error="));
  EXPECT_TRUE(listener_->logged("terminating connection due to administrator command (57P01)\" trouble=away"));
  EXPECT_EQ(listener_->terminate(), 0);
}

#ifdef ROMANCY_TEST_POINTS
// Stopped, for longer than its deadline, when it listens again and subscribers do not know it yet: they go on polling, and
// what is notified meanwhile is covered by the resync.
TEST_F(ListenerProcess, OneThatIsStoppedBetweenListenAndResyncGoesOnWhereItWas) {
  const std::string go_on = dir_.path() + "/go_on";
  environment_ = {{"ROMANCY_TEST_POINTS", "listener.listen.after=pause:" + go_on + "@2,listener.resync.before=pause:" + go_on + "2@2"},
                  {"ROMANCY_TEST_POINTS_ONCE", dir_.path()}};
  start("reconnect_delay = \"10ms\"\nheartbeat_interval = \"100ms\"\nheartbeat_timeout = \"100ms\"\n");
  auto peer = live_observer();
  terminate_backend();
  for (const char* point : {"listener.listen.after", "listener.resync.before"}) {
    ASSERT_TRUE(eventually([&] { return ::access((dir_.path() + "/" + point).c_str(), F_OK) == 0; })) << listener_->log();
    listener_->signal(SIGSTOP);
    dir_.write(point == std::string("listener.listen.after") ? "go_on" : "go_on2", "");
    notify("outbox_pending", R"({"unheard":1})");
    const auto later = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);  // than its deadline
    ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > later; }));
    EXPECT_EQ(peer.lines(), std::vector<std::string>{kDeaf});
    listener_->signal(SIGCONT);
  }
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
  ASSERT_GE(peer.lines().size(), 3u);
  EXPECT_EQ(peer.lines()[1], kLive);
  EXPECT_EQ(peer.lines()[2], kGap);
}
#endif

TEST_F(ListenerProcess, HeartbeatsKeepComingOnTheSameConnection) {
  start();
  auto peer = live_observer();
  Backend first;
  ASSERT_TRUE(eventually([&] { return (first = backend()).pid != 0; }));
  Backend later;
  ASSERT_TRUE(eventually([&] { return (later = backend()).beats >= first.beats + 3; })) << listener_->log();
  EXPECT_EQ(later.pid, first.pid);
  EXPECT_TRUE(peer.lines().empty());
}

TEST_F(ListenerProcess, APoolerThatSwallowsNotificationsNeverBecomesLive) {
  const std::vector<Proxy::Rule> no_notifications{{.way = Proxy::Way::to_client, .type = 'A', .fate = Proxy::Fate::swallowed}};
  Proxy proxy(conninfo_);
  proxy.rules(no_notifications);
  start("heartbeat_interval = \"100ms\"\nheartbeat_timeout = \"100ms\"\nreconnect_delay = \"10ms\"\n", proxy.conninfo());
  auto peer = observer();
  ASSERT_TRUE(eventually([&] { return proxy.met() >= 3; })) << listener_->log();
  EXPECT_TRUE(eventually([&] { return listener_->logged("our notification to ourselves did not come back"); }));
  EXPECT_FALSE(listener_->logged("connection established"));
  EXPECT_EQ(peer.lines(), (std::vector<std::string>{R"({"welcome":1,"live":false})", R"({"resync":"connected"})"}));

  proxy.rules({});  // the pooler is put right
  ASSERT_TRUE(eventually([&] { return peer.lines().back() == R"({"resync":"listener"})"; })) << listener_->log();
  peer.forget();
  proxy.rules(no_notifications);  // and goes wrong again: the heartbeat finds out
  ASSERT_TRUE(eventually([&] { return peer.count(kDeaf) == 1; })) << listener_->log();
  EXPECT_TRUE(listener_->logged("LISTEN/NOTIFY connection lost, reconnecting error=\"our notification to ourselves did not come back within 100ms (a pooler"));
  proxy.rules({});
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
}

// Until it is live everybody polls: over a long way each round trip counts. Asked are LISTEN, what the server knows of us, NOTIFY.
TEST_F(ListenerProcess, OnceConnectedItIsLiveAfterThreeRoundTrips) {
  Proxy proxy(conninfo_);
  proxy.rules({{.way = Proxy::Way::to_server, .type = 'S', .fate = Proxy::Fate::passed}});  // one ends each question
  start("heartbeat_interval = \"1h\"\n", proxy.conninfo());
  auto peer = live_observer();
  EXPECT_EQ(proxy.met(), 3) << listener_->log();
}

// A burst may take longer than the heartbeat's deadline, and the beat's answer stands behind it: only silence counts.
TEST_F(ListenerProcess, WhileHintsArriveAHeartbeatThatIsLateEndsNothing) {
  Proxy proxy(conninfo_);
  start("heartbeat_interval = \"100ms\"\nheartbeat_timeout = \"1s\"\nreconnect_delay = \"10ms\"\n", proxy.conninfo());
  auto peer = live_observer();
  std::vector<Proxy::Rule> no_questions;  // the server never hears the heartbeat's
  for (const char type : {'P', 'B', 'D', 'E', 'S'}) {
    no_questions.push_back({.way = Proxy::Way::to_server, .type = type, .fate = Proxy::Fate::swallowed});
  }
  proxy.rules(no_questions);
  ASSERT_TRUE(eventually([&] { return proxy.met() >= 5; })) << listener_->log();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
  for (int i = 0; std::chrono::steady_clock::now() < end; ++i) notify("outbox_pending", "{\"n\":" + std::to_string(i) + "}");
  EXPECT_EQ(peer.count(kDeaf), 0) << listener_->log();
  ASSERT_TRUE(eventually([&] { return peer.count(kDeaf) == 1; })) << listener_->log();  // now it is silent
  EXPECT_TRUE(listener_->logged("trouble=hung_backend"));
  proxy.rules({});
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
}

// A burst that no queue holds, and a subscriber that never reads: the socket to PostgreSQL is drained all the same.
TEST_F(ListenerProcess, ABurstOfAHundredThousandWithASubscriberThatNeverReadsIsDrained) {
  start("heartbeat_interval = \"100ms\"\n");
  auto slow = live_observer();
  auto quick = live_observer();
  Backend before;
  ASSERT_TRUE(eventually([&] { return (before = backend()).pid != 0; }));
  for (int i = 0; i < 100; ++i) {
    const auto done = sql_->query(
        "SELECT count(pg_notify($1, json_build_object('instance_id', $2 || '-' || n, 'filling', repeat('x', 200))::text))"
        "  FROM generate_series(1, 1000) n",
        pg::Params(schema_ + "_workflow_resumable", std::to_string(i)));
    ASSERT_TRUE(done.has_value()) << done.error().text;
    static_cast<void>(quick.lines());
  }
  // It beats on, on the same connection: whatever stood before that in the queue was read.
  Backend later;
  const int beats = backend().beats;
  ASSERT_TRUE(eventually([&] { return (later = backend()).beats >= beats + 2; })) << listener_->log();
  EXPECT_EQ(later.pid, before.pid);
  ASSERT_TRUE(eventually([&] {  // the quick one has read all it was given
    const auto seen = quick.lines().size();
    notify("outbox_pending", R"({"marker":1})");
    return eventually([&] { return quick.lines().size() > seen; }) &&
           quick.count(R"({"wake":"outbox_pending","payload":{"marker":1}})") > 0;
  }));
  // What stood in the slow one's socket, and one resync for all the rest.
  ASSERT_TRUE(eventually([&] { return slow.count(R"({"resync":"overflow"})") == 1; }));
  EXPECT_LT(slow.lines().size(), 50'000u);
}

TEST_F(ListenerProcess, WhileTheDatabaseIsAwayItServesTheHubAndKeepsTrying) {
  start("reconnect_delay = \"10ms\"\nreconnect_delay_max = \"20ms\"\n", "host=" + dir_.path() + " user=x dbname=x");
  auto peer = observer();
  EXPECT_EQ(peer.lines()[0], R"({"welcome":1,"live":false})");
  ASSERT_TRUE(eventually([&] { return listener_->logged("LISTEN/NOTIFY connection failed, reconnecting error="); }));
  EXPECT_TRUE(listener_->logged("ready"));
  EXPECT_EQ(listener_->terminate(), 0);
}

TEST_F(ListenerProcess, SwitchedOffItServesTheHubAndNeverConnects) {
  start("enabled = false\n", "host=" + dir_.path() + " user=x dbname=x");
  auto peer = observer();
  EXPECT_EQ(peer.lines(), (std::vector<std::string>{R"({"welcome":1,"live":false})", R"({"resync":"connected"})"}));
  EXPECT_TRUE(listener_->logged("PostgreSQL LISTEN/NOTIFY disabled"));
  EXPECT_FALSE(listener_->logged("LISTEN/NOTIFY connection"));
  EXPECT_EQ(listener_->terminate(), 0);
}

TEST_F(ListenerProcess, OnceItTellsByItsExitCodeWhetherNotificationsWork) {
  EXPECT_EQ(exit_code({"--once", "--config", config("", conninfo_)}), 0);
  EXPECT_EQ(exit_code({"--once", "--config", config("", "host=" + dir_.path() + " user=x dbname=x")}), 75);
}

TEST_F(ListenerProcess, AWrongConfigurationIsExit78) {
  EXPECT_EQ(exit_code({"--config", config("heartbeat_interval = \"1ms\"\n", conninfo_)}), 78);
  EXPECT_EQ(exit_code({"--config", dir_.path() + "/none.toml"}), 78);
}

TEST_F(ListenerProcess, TheSocketIsForItsUserAndForTheGroupThatMaySubscribe) {
  start();
  observer();
  struct stat socket {}, directory {};
  ASSERT_EQ(::stat(hub().c_str(), &socket), 0);
  EXPECT_EQ(socket.st_mode & 07777, 0660u);
  EXPECT_EQ(socket.st_gid, ::getegid());
  EXPECT_EQ(listener_->terminate(), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "NOT TESTED: only root may give files to any group";
  start("group = \"54321\"\n");
  observer();
  ASSERT_EQ(::stat(hub().c_str(), &socket), 0);
  ASSERT_EQ(::stat((dir_.path() + "/run").c_str(), &directory), 0);
  EXPECT_EQ(socket.st_mode & 07777, 0660u);
  EXPECT_EQ(socket.st_gid, 54321u);
  EXPECT_EQ(directory.st_mode & 07777, 0750u);
  EXPECT_EQ(directory.st_gid, 54321u);
  EXPECT_EQ(listener_->terminate(), 0);
  EXPECT_EQ(exit_code({"--config", config("group = \"no_such_group_here\"\n", conninfo_)}), 78);
  EXPECT_TRUE(listener_->logged("listener.group: there is no group no_such_group_here"));
}

TEST_F(ListenerProcess, ASecondListenerOnOneSocketIsExit78AndTheFirstGoesOn) {
  start();
  auto peer = live_observer();
  EXPECT_EQ(exit_code({"--config", config("", conninfo_)}), 78);
  notify("outbox_pending", "{}");
  EXPECT_TRUE(eventually([&] { return peer.lines().size() == 1; }));
}

TEST_F(ListenerProcess, WhoConnectsWhileItIsDeadIsServedByTheNextOneOnTheInheritedSocket) {
  ASSERT_EQ(::mkdir((dir_.path() + "/run").c_str(), 0750), 0);
  auto socket = io::listen_unix(hub());
  ASSERT_TRUE(socket.has_value());
  const int handed_down = ::fcntl(socket->get(), F_DUPFD, 10);  // without close-on-exec
  const std::string start_it = "exec 5<&" + std::to_string(handed_down) + "; exec \"$0\" \"$@\"";
  const std::vector<std::string> arguments{"-c", start_it, program_path("romancy-listener"), "--config",
                                           config("", conninfo_)};
  listener_.emplace("/bin/bash", arguments, log_, std::map<std::string, std::string>{{"ROMANCY_HUB", "1"}});
  auto first = live_observer();
  listener_->kill9();
  ASSERT_TRUE(eventually([&] { return first.eof(); }));
  auto waiting = BarePeer::connect(hub());  // nobody accepts, but the socket is there
  waiting.say(R"({"hello":1,"role":"observer","group":"o","channels":["outbox_pending"]})");
  listener_.emplace("/bin/bash", arguments, log_, std::map<std::string, std::string>{{"ROMANCY_HUB", "1"}});
  EXPECT_TRUE(eventually([&] { return waiting.count(R"({"resync":"connected"})") == 1; })) << listener_->log();
  ::close(handed_down);
  EXPECT_EQ(listener_->terminate(), 0);
}

}  // namespace
}  // namespace romancy::test
