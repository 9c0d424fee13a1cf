// The real romancy-listener behind a real PgBouncer.
#include <cstdio>

#include "tests/process/listener_stage.hpp"
#include "tests/support/pooler.hpp"

namespace romancy::test {
namespace {

class ListenerPooler : public ListenerProcess {
 protected:
  void SetUp() override {
    ListenerProcess::SetUp();
    if (const std::string why = Pooler::why_not(); !why.empty()) GTEST_SKIP() << "NOT TESTED: " << why;
  }
};

constexpr const char* kQuick = "heartbeat_interval = \"100ms\"\nreconnect_delay = \"10ms\"\nreconnect_delay_max = \"100ms\"\n";

TEST_F(ListenerPooler, InSessionModeNotificationsAreHeardAndEachHeartbeatProvesIt) {
  const Pooler pooler(conninfo_, "session");
  start(kQuick, pooler.conninfo());
  auto peer = live_observer();
  EXPECT_TRUE(listener_->logged("pooler=true")) << listener_->log();
  const int logins = pooler.logins();
  ASSERT_TRUE(eventually([&] { return pooler.logins() >= logins + 5; })) << listener_->log();  // a second connection a beat
  notify("outbox_pending", R"({"n":1})");
  ASSERT_TRUE(eventually([&] { return !peer.lines().empty(); })) << listener_->log();
  EXPECT_EQ(peer.lines(), std::vector<std::string>{R"({"wake":"outbox_pending","payload":{"n":1}})"}) << listener_->log();
  EXPECT_FALSE(listener_->logged("reconnecting")) << listener_->log();
}

// Each statement of ours gets the same server connection, since nobody else is there: a notification to ourselves comes back.
TEST_F(ListenerPooler, InTransactionModeItIsNeverLiveAndWhenPutRightItHealsByItself) {
  Pooler pooler(conninfo_, "transaction");
  start(std::string(kQuick) + "heartbeat_timeout = \"1s\"\n", pooler.conninfo());
  auto peer = observer();
  ASSERT_TRUE(eventually([&] { return listener_->logged("the pooler between us and the server must be in session mode)\" trouble=pooler"); }))
      << listener_->log();
  EXPECT_FALSE(listener_->logged("connection established")) << listener_->log();
  EXPECT_EQ(peer.lines(), (std::vector<std::string>{R"({"welcome":1,"live":false})", R"({"resync":"connected"})"}));
  pooler.mode("session");
  ASSERT_TRUE(eventually([&] { return peer.lines().back() == R"({"resync":"listener"})"; })) << listener_->log() << pooler.log();
  EXPECT_EQ(peer.count(kLive), 1);
}

// It takes the server connection away from a client that it has already, at the end of the next transaction.
TEST_F(ListenerPooler, APoolerThatLeavesSessionModeUnderALiveListenerIsFoundOut) {
  Pooler pooler(conninfo_, "session");
  start(std::string(kQuick) + "heartbeat_timeout = \"2s\"\n", pooler.conninfo());
  auto peer = live_observer();
  pooler.mode("transaction");
  ASSERT_TRUE(eventually([&] { return peer.count(kDeaf) == 1; })) << listener_->log() << pooler.log();
  EXPECT_TRUE(listener_->logged("trouble=pooler")) << listener_->log();
  pooler.mode("session");
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log() << pooler.log();
}

TEST_F(ListenerPooler, ADirectConnectionNeedsNoSecondOne) {
  start(kQuick);
  auto peer = live_observer();
  EXPECT_TRUE(listener_->logged("pooler=false")) << listener_->log();
  Backend before;
  ASSERT_TRUE(eventually([&] { return (before = backend()).pid != 0; }));
  ASSERT_TRUE(eventually([&] { return backend().beats >= before.beats + 3; })) << listener_->log();
  EXPECT_EQ(backend().pid, before.pid);  // it notifies itself
}

// What an operator sees, who does not read the log.
TEST_F(ListenerPooler, TheStatusSaysThatItIsThePooler) {
  Pooler pooler(conninfo_, "transaction");
  const std::string file = config(std::string(kQuick) + "heartbeat_timeout = \"1s\"\n", pooler.conninfo());
  Daemon supervisor("romancy-supervisor", {"--config", file}, log_);
  const auto status = [&](const std::string& how) {
    std::string all;
    std::FILE* pipe = ::popen((program_path("romancy") + " --config " + file + " status " + how + " 2>/dev/null").c_str(), "re");
    char buffer[4096];
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) all.append(buffer, got);
    ::pclose(pipe);
    return all;
  };
  ASSERT_TRUE(eventually([&] { return status("--json").find(R"("trouble":"pooler")") != std::string::npos; })) << supervisor.log();
  EXPECT_NE(status("").find("note        listener does not hear notifications (pooler): notifications do not come through the pooler: database.url must"),
            std::string::npos) << status("");
  pooler.mode("session");
  ASSERT_TRUE(eventually([&] { return status("--json").find(R"("trouble":"pooler")") == std::string::npos; })) << supervisor.log();
  supervisor.terminate();
}

}  // namespace
}  // namespace romancy::test
