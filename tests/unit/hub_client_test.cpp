#include "common/proc/hub_client.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "tests/unit/hub_support.hpp"
#include "listener/hub.hpp"

namespace romancy::proc {
namespace {

using namespace std::chrono_literals;
using listener::Hub;
using listener::HubOptions;
using test::BarePeer;
using Heard = std::vector<std::string>;

class HubClientTest : public ::testing::Test {
 protected:
  void serve() {
    auto socket = io::listen_unix(path_);
    ASSERT_TRUE(socket.has_value());
    hub_.emplace(loop_, std::move(*socket), HubOptions{}, Slot());
  }
  void make(std::optional<std::int64_t> session = {}, const std::string& role = "resumer") {
    client_ = std::make_unique<HubClient>(
        loop_, path_, Subscription{.role = role, .group = "g", .channels = {kWorkflowResumable}, .session = session},
        HubClient::Handlers{
            .on_wake = [this](std::string_view kind,
                              std::string_view text) { hear("wake " + std::string(kind) + " " + std::string(text)); },
            .on_resync = [this](std::string_view why) { hear("resync " + std::string(why)); },
            .on_live = [this](bool live) { hear(live ? "live" : "deaf"); },
            .on_gone = [this](std::int64_t gone) { hear("gone " + std::to_string(gone)); }});
  }
  void hear(const std::string& what) {
    heard_.push_back(what);
    if (on_hear_) on_hear_();
  }
  bool until(const std::function<bool()>& fact) { return test::run_until(loop_, fact); }
  bool heard(const std::string& what) {
    return until([&] { return std::find(heard_.begin(), heard_.end(), what) != heard_.end(); });
  }

  test::ScratchDir dir_;
  std::string path_ = dir_.file("hub.sock");
  io::Loop loop_;
  std::optional<Hub> hub_;
  std::unique_ptr<HubClient> client_;
  Heard heard_;
  std::function<void()> on_hear_;
};

TEST_F(HubClientTest, IsLiveAndResyncedBeforeTheFirstWake) {
  serve();
  hub_->live(true);
  make();
  client_->start();
  EXPECT_FALSE(client_->live());
  ASSERT_TRUE(heard("resync connected"));
  EXPECT_TRUE(client_->live());
  hub_->notification(kWorkflowResumable, R"({"instance_id":"i"})");
  ASSERT_TRUE(heard(R"(wake workflow_resumable {"instance_id":"i"})"));
  EXPECT_EQ(heard_, (Heard{"live", "resync connected", R"(wake workflow_resumable {"instance_id":"i"})"}));
}

TEST_F(HubClientTest, WithoutAHubItStaysDeafAndFindsOneThatComesLater) {
  make();
  client_->start();
  test::run_turns(loop_);
  EXPECT_FALSE(client_->live());
  EXPECT_TRUE(heard_.empty());
  serve();
  hub_->live(true);
  ASSERT_TRUE(heard("resync connected"));
}

TEST_F(HubClientTest, ReconnectsAndResyncsWhenTheHubComesBack) {
  serve();
  hub_->live(true);
  make();
  client_->start();
  ASSERT_TRUE(heard("resync connected"));
  heard_.clear();
  hub_.reset();
  ASSERT_TRUE(heard("deaf"));
  EXPECT_FALSE(client_->live());
  serve();
  ASSERT_TRUE(heard("resync connected"));
  EXPECT_FALSE(client_->live());  // this hub does not hear PostgreSQL yet
  hub_->live(true);
  hub_->resync(ResyncWhy::listener);
  ASSERT_TRUE(heard("resync listener"));
  EXPECT_EQ(heard_, (Heard{"deaf", "resync connected", "live", "resync listener"}));
}

TEST_F(HubClientTest, AGapIsHeardAsDeafThenLiveThenResync) {
  serve();
  hub_->live(true);
  make();
  client_->start();
  ASSERT_TRUE(heard("resync connected"));
  heard_.clear();
  hub_->live(false);
  ASSERT_TRUE(heard("deaf"));
  hub_->live(true);
  hub_->resync(ResyncWhy::gap);
  ASSERT_TRUE(heard("resync gap"));
  EXPECT_EQ(heard_, (Heard{"deaf", "live", "resync gap"}));
}

TEST_F(HubClientTest, ANewSessionIsSaidAndTheOldOneIsGone) {
  serve();
  auto timer = BarePeer::connect(path_);
  timer.say(R"({"hello":1,"role":"timer","group":"t","channels":[]})");
  make(1);
  client_->start();
  ASSERT_TRUE(heard("resync connected"));
  heard_.clear();
  client_->session(1);  // the same: nothing happens
  test::run_turns(loop_);
  EXPECT_TRUE(heard_.empty());
  client_->session(2);
  ASSERT_TRUE(heard("resync connected"));
  ASSERT_TRUE(until([&] { return timer.count(R"({"gone":1})") == 1; }));
  client_.reset();
  ASSERT_TRUE(until([&] { return timer.count(R"({"gone":2})") == 1; }));
}

TEST_F(HubClientTest, ATimerHearsWhoseSessionIsGone) {
  serve();
  make({}, "timer");
  client_->start();
  ASSERT_TRUE(heard("resync connected"));
  auto worker = BarePeer::connect(path_);
  worker.say(R"({"hello":1,"role":"resumer","group":"g","channels":[],"session":77})");
  ASSERT_TRUE(until([&] { return hub_->subscribers() == 2; }));
  worker.hang_up();
  ASSERT_TRUE(heard("gone 77"));
}

TEST_F(HubClientTest, GarbageFromTheHubClosesAndReconnects) {
  auto socket = io::listen_unix(path_);
  ASSERT_TRUE(socket.has_value());
  std::vector<BarePeer> hubs;
  std::size_t next = 0;
  const Heard nonsense{"x", R"({"wake":"workflow_resumable","payload":{}})", R"({"state":{"live":true}})",
                       R"({"gone":1})"};
  io::UnixServer server(loop_, std::move(*socket), [&](UniqueFd fd, io::Peer) {
    hubs.emplace_back(std::move(fd));
    if (next < nonsense.size()) hubs.back().say(nonsense[next++]);
    else hubs.back().say(R"({"welcome":1,"live":true})");
  });
  make();
  client_->start();
  ASSERT_TRUE(heard("live"));
  EXPECT_EQ(next, nonsense.size());
  EXPECT_EQ(heard_, (Heard{"live"}));
  // A wake before the resync would be a promise broken by the hub.
  hubs.back().say(R"({"wake":"workflow_resumable","payload":{}})");
  ASSERT_TRUE(heard("deaf"));
}

TEST_F(HubClientTest, ARefusalIsSurvived) {
  auto socket = io::listen_unix(path_);
  ASSERT_TRUE(socket.has_value());
  int connects = 0;
  std::vector<BarePeer> hubs;
  io::UnixServer server(loop_, std::move(*socket), [&](UniqueFd fd, io::Peer) {
    hubs.emplace_back(std::move(fd));
    hubs.back().say(++connects < 3 ? R"({"refused":"not now"})" : R"({"welcome":1,"live":true})");
    if (connects < 3) hubs.back().hang_up();
  });
  make();
  client_->start();
  ASSERT_TRUE(heard("live"));
  EXPECT_EQ(connects, 3);
}

TEST_F(HubClientTest, MayBeStoppedFromWithinAnyOfItsCallbacks) {
  serve();
  hub_->live(true);
  for (std::size_t stop_at = 1; stop_at <= 3; ++stop_at) {
    heard_.clear();
    make();
    on_hear_ = [&] {
      if (heard_.size() == stop_at) client_->stop();
    };
    client_->start();
    ASSERT_TRUE(until([&] {
      hub_->notification(kWorkflowResumable, "");
      return heard_.size() == stop_at;
    }));
    ASSERT_TRUE(until([&] { return hub_->subscribers() == 0; }));
    EXPECT_EQ(heard_.size(), stop_at);
    EXPECT_FALSE(client_->live());
    on_hear_ = nullptr;
    client_->start();  // and may begin again
    ASSERT_TRUE(until([&] { return client_->live(); }));
    client_.reset();
  }
}

TEST_F(HubClientTest, MayBeDestroyedFromWithinAnyOfItsCallbacks) {
  serve();
  hub_->live(true);
  for (std::size_t die_at = 1; die_at <= 3; ++die_at) {
    heard_.clear();
    make();
    on_hear_ = [&] {
      if (heard_.size() == die_at) client_.reset();
    };
    client_->start();
    ASSERT_TRUE(until([&] {
      hub_->notification(kWorkflowResumable, "");
      return client_ == nullptr;
    }));
    ASSERT_TRUE(until([&] { return hub_->subscribers() == 0; }));
    EXPECT_EQ(heard_.size(), die_at);
  }
  // And when the hub goes away.
  heard_.clear();
  make();
  on_hear_ = [&] {
    if (heard_.back() == "deaf") client_.reset();
  };
  client_->start();
  ASSERT_TRUE(heard("resync connected"));
  hub_.reset();
  ASSERT_TRUE(until([&] { return client_ == nullptr; }));
}

}  // namespace
}  // namespace romancy::proc
