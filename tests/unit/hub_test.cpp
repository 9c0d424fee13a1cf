#include "listener/hub.hpp"

#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "tests/unit/hub_support.hpp"

namespace romancy::listener {
namespace {

using namespace std::chrono_literals;
using proc::Counter;
using proc::ResyncWhy;
using test::BarePeer;
using Lines = std::vector<std::string>;

constexpr const char* kKind = proc::kWorkflowResumable;

std::string hello(const std::string& role, const std::string& group, const std::string& more = "") {
  return R"({"hello":1,"role":")" + role + R"(","group":")" + group +
         R"(","channels":["workflow_resumable"])" + more + "}";
}

std::string payload(int i) { return R"({"instance_id":"i)" + std::to_string(i) + R"("})"; }
std::string wake(int i) { return proc::encode_wake(kKind, payload(i)); }

class HubTest : public ::testing::Test {
 protected:
  void serve(HubOptions options = {}) {
    auto socket = io::listen_unix(path_);
    ASSERT_TRUE(socket.has_value());
    hub_.emplace(loop_, std::move(*socket), options, board_.slot(0));
  }
  BarePeer connect() { return BarePeer::connect(path_); }
  // A subscriber that has been welcomed.
  BarePeer subscriber(const std::string& role, const std::string& group, const std::string& more = "") {
    BarePeer peer = connect();
    peer.say(hello(role, group, more));
    EXPECT_TRUE(until([&] { return peer.lines().size() >= 2; }));
    return peer;
  }
  bool until(const std::function<bool()>& fact) { return test::run_until(loop_, fact); }
  std::uint64_t counter(Counter which) { return board_.read(0).counters[static_cast<std::size_t>(which)]; }

  test::ScratchDir dir_;
  std::string path_ = dir_.file("hub.sock");
  proc::Board board_ = proc::Board::private_one();
  io::Loop loop_;
  std::optional<Hub> hub_;
};

TEST_F(HubTest, AWelcomeIsFollowedByAResyncThenByWakes) {
  serve();
  auto peer = subscriber("resumer", "g");
  hub_->notification(kKind, payload(1));
  ASSERT_TRUE(until([&] { return peer.lines().size() == 3; }));
  EXPECT_EQ(peer.lines(), (Lines{R"({"welcome":1,"live":false})", R"({"resync":"connected"})", wake(1)}));
  EXPECT_EQ(counter(Counter::subscribers), 1u);
  EXPECT_EQ(counter(Counter::notifications), 1u);
}

TEST_F(HubTest, StateIsToldOnChangeAndBeforeTheResync) {
  serve();
  auto peer = subscriber("resumer", "g");
  peer.forget();
  hub_->live(false);  // no change
  hub_->live(true);
  hub_->resync(ResyncWhy::listener);
  hub_->notification(kKind, payload(1));  // in the same turn: the look that the resync causes covers it
  ASSERT_TRUE(until([&] { return peer.lines().size() == 2; }));
  test::run_turns(loop_);
  EXPECT_EQ(peer.lines(), (Lines{R"({"state":{"live":true}})", R"({"resync":"listener"})"}));
  auto late = connect();
  late.say(hello("observer", "o"));
  ASSERT_TRUE(until([&] { return late.lines().size() == 2; }));
  EXPECT_EQ(late.lines()[0], R"({"welcome":1,"live":true})");
}

TEST_F(HubTest, MembersOfAGroupShareAndAnotherGroupGetsAll) {
  serve();
  auto first = subscriber("resumer", "orders");
  auto second = subscriber("resumer", "orders");
  auto alone = subscriber("resumer", "billing");
  auto observer = subscriber("observer", "orders");
  for (int i = 0; i < 100; ++i) hub_->notification(kKind, payload(i));
  ASSERT_TRUE(until([&] { return alone.lines().size() == 102 && observer.lines().size() == 102; }));
  ASSERT_TRUE(until([&] { return first.lines().size() + second.lines().size() == 104; }));
  EXPECT_GT(first.lines().size(), 20u);
  EXPECT_GT(second.lines().size(), 20u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(first.count(wake(i)) + second.count(wake(i)), 1) << i;
  hub_->notification(kKind, "");
  ASSERT_TRUE(until([&] {
    const std::string look = proc::encode_wake(kKind, "{}");
    return first.count(look) == 1 && second.count(look) == 1 && alone.count(look) == 1 && observer.count(look) == 1;
  }));
}

TEST_F(HubTest, EqualHintsOfOneTurnAreOneWake) {
  serve();
  auto peer = subscriber("resumer", "g");
  for (int i = 0; i < 50; ++i) hub_->notification(kKind, payload(1));
  hub_->notification(kKind, payload(2));
  ASSERT_TRUE(until([&] { return peer.count(wake(2)) == 1; }));
  EXPECT_EQ(peer.count(wake(1)), 1);
}

TEST_F(HubTest, ABurstOfOneTurnArrivesWhole) {
  serve();
  auto peer = subscriber("resumer", "g");
  const std::string filling(150, 'x');  // several pieces, but less than the queue and the socket hold
  for (int i = 0; i < 1000; ++i) {
    hub_->notification(kKind, R"({"i":)" + std::to_string(i) + R"(,"f":")" + filling + R"("})");
  }
  ASSERT_TRUE(until([&] { return peer.lines().size() == 1002; }));
  EXPECT_EQ(counter(Counter::hub_overflows), 0u);
}

TEST_F(HubTest, ASlowSubscriberGetsExactlyOneResyncAndOthersAreUnaffected) {
  serve();
  auto slow = subscriber("resumer", "slow");
  auto quick = subscriber("resumer", "quick");
  slow.forget();
  int sent = 0;
  // Until the slow one's socket, stream and queue are full, and then some; the quick one reads all the while.
  while (counter(Counter::hub_overflows) == 0) {
    for (int i = 0; i < 500; ++i) hub_->notification(kKind, payload(sent++));
    ASSERT_TRUE(until([&] { return quick.lines().size() == static_cast<std::size_t>(sent) + 2; }));
    ASSERT_LT(sent, 1'000'000);
  }
  for (int i = 0; i < 500; ++i) hub_->notification(kKind, payload(sent++));
  ASSERT_TRUE(until([&] { return quick.lines().size() == static_cast<std::size_t>(sent) + 2; }));
  EXPECT_EQ(counter(Counter::hub_overflows), 1u);

  // It reads at last: what stood in the socket, one resync, and then what is new.
  const std::string resync = R"({"resync":"overflow"})";
  ASSERT_TRUE(until([&] { return slow.count(resync) == 1; }));
  EXPECT_EQ(slow.lines().back(), resync);
  EXPECT_LT(slow.lines().size(), static_cast<std::size_t>(sent));
  hub_->notification(kKind, payload(sent));
  ASSERT_TRUE(until([&] { return slow.lines().back() == wake(sent); }));
  EXPECT_EQ(slow.count(resync), 1);
  EXPECT_EQ(quick.count(resync), 0);
}

TEST_F(HubTest, ASubscriberThatNeverReadsIsHungUpOn) {
  serve({.max_subscribers = 8, .patience = {.hello_within = 1h, .stalled_after = 20ms}});
  auto dead = subscriber("resumer", "dead");
  auto idle = subscriber("observer", "idle");
  for (int sent = 0; hub_->subscribers() == 2; ++sent) {
    for (int i = 0; i < 100; ++i) hub_->notification(kKind, payload(sent * 100 + i));
    ASSERT_TRUE(until([&] { return !idle.lines().empty(); }));
    idle.forget();
    ASSERT_LT(sent, 1'000'000);
  }
  EXPECT_EQ(hub_->subscribers(), 1u);
  ASSERT_TRUE(until([&] { return dead.eof(); }));
  EXPECT_FALSE(idle.eof());
}

TEST_F(HubTest, OneUnreadLineIsEnoughAndWhoHasReadAllIsNeverHungUpOn) {
  serve({.max_subscribers = 8, .patience = {.hello_within = 1h, .stalled_after = 100ms}});
  auto quiet = subscriber("observer", "o");
  for (int round = 1; round <= 3; ++round) {  // each lasts as long as a reader may be idle
    auto stopped = subscriber("resumer", "g");
    hub_->notification(kKind, payload(round));
    ASSERT_TRUE(until([&] { return quiet.count(wake(round)) == 1; }));
    ASSERT_TRUE(until([&] { return hub_->subscribers() == 1; }));  // one line lies in its socket, and nothing else
    EXPECT_EQ(counter(Counter::hub_stalled), static_cast<std::uint64_t>(round));
  }
  EXPECT_FALSE(quiet.eof());
}

TEST_F(HubTest, WhoReadsSlowlyIsNotHungUpOn) {
  serve({.max_subscribers = 8, .patience = {.hello_within = 1h, .stalled_after = 200ms}});
  auto slow = subscriber("resumer", "slow");
  auto clock = subscriber("resumer", "clock");  // reads nothing more: hung up on when its time is over
  std::size_t read = 0;
  for (int i = 0; counter(Counter::hub_stalled) == 0; ++i) {
    hub_->notification(kKind, payload(i));
    // It reads a line after the next one has come: something always waits for it.
    if (i % 2 == 1) read += slow.lines().size();
    slow.forget();
    test::run_turns(loop_, 2);
  }
  EXPECT_GT(read, 0u);
  EXPECT_TRUE(clock.eof());
  EXPECT_EQ(hub_->subscribers(), 1u);
}

TEST_F(HubTest, WhenAMemberLeavesWithHintsTheOthersOfItsGroupAreToldToLook) {
  serve();
  auto first = subscriber("resumer", "g");
  auto second = subscriber("resumer", "g");
  auto other = subscriber("resumer", "h");
  auto watcher = subscriber("observer", "g");
  const std::string departure = R"({"resync":"departure"})";
  for (int i = 0; i < 20; ++i) hub_->notification(kKind, payload(i));
  ASSERT_TRUE(until([&] { return other.lines().size() == 22; }));
  EXPECT_GT(first.lines().size(), 2u);  // it has read them, and dies before it acts
  first.hang_up();
  ASSERT_TRUE(until([&] { return second.count(departure) == 1; }));
  EXPECT_EQ(counter(Counter::hub_departures), 1u);
  second.hang_up();
  ASSERT_TRUE(until([&] { return hub_->subscribers() == 2; }));
  hub_->notification(kKind, payload(1));
  ASSERT_TRUE(until([&] { return other.count(wake(1)) == 2 && watcher.count(wake(1)) == 2; }));
  EXPECT_EQ(other.count(departure) + watcher.count(departure), 0);
}

TEST_F(HubTest, WhenAMemberReadsNothingTheOthersOfItsGroupAreToldToLook) {
  serve({.max_subscribers = 8, .patience = {.hello_within = 1h, .stalled_after = 50ms}});
  auto stopped = subscriber("resumer", "g");
  for (int i = 0; i < 20; ++i) hub_->notification(kKind, payload(i));  // alone in its group: all go to it
  auto second = subscriber("resumer", "g");
  ASSERT_TRUE(until([&] { return second.count(R"({"resync":"departure"})") == 1; }));
  EXPECT_EQ(counter(Counter::hub_stalled), 1u);
}

TEST_F(HubTest, AMemberThatWasToldNothingOfLateLeavesUnnoticed) {
  serve({.max_subscribers = 8, .patience = {}, .hints_matter = 20ms});
  auto first = subscriber("resumer", "g");
  hub_->notification(kKind, payload(1));
  auto second = subscriber("resumer", "g");
  auto never = subscriber("resumer", "g");
  bool old = false;
  io::Alarm later(loop_, [&] { old = true; });
  later.set_in(30ms);
  ASSERT_TRUE(until([&] { return old; }));
  never.hang_up();
  first.hang_up();
  ASSERT_TRUE(until([&] { return hub_->subscribers() == 1; }));
  EXPECT_EQ(counter(Counter::hub_departures), 0u);
  EXPECT_EQ(second.lines().size(), 2u);
}

TEST_F(HubTest, MembersThatComeAndGoCannotMakeTheOthersLookWithoutEnd) {
  serve({.max_subscribers = 64, .patience = {}, .departures_apart = 1h});
  auto stays = subscriber("resumer", "g");
  for (int i = 0; i < 30; ++i) {
    auto passing = subscriber("resumer", "g");
    hub_->notification(kKind, "");  // to both
    passing.hang_up();
    ASSERT_TRUE(until([&] { return hub_->subscribers() == 1; }));
  }
  EXPECT_EQ(counter(Counter::hub_departures), 1u);
  EXPECT_EQ(stays.count(R"({"resync":"departure"})"), 1);
}

TEST_F(HubTest, ADepartureThatComesTooEarlyIsToldLater) {
  serve({.max_subscribers = 64, .patience = {}, .departures_apart = 50ms});
  auto stays = subscriber("resumer", "g");
  for (int i = 0; i < 2; ++i) {
    auto passing = subscriber("resumer", "g");
    hub_->notification(kKind, "");
    passing.hang_up();
    ASSERT_TRUE(until([&] { return hub_->subscribers() == 1; }));
  }
  ASSERT_TRUE(until([&] { return stays.count(R"({"resync":"departure"})") == 2; }));
}

constexpr uid_t kNobody = 65534;

// What the hub says first to a process of this user and these groups. Needs to be root.
class Stranger {
 public:
  Stranger(const std::string& path, gid_t group, std::vector<gid_t> further, std::string expected) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    if (::setgroups(further.size(), further.data()) != 0 || ::setresgid(group, group, group) != 0 ||
        ::setresuid(kNobody, kNobody, kNobody) != 0) {
      ::_exit(2);
    }
    auto fd = io::connect_unix(path);
    const std::string hello_line = hello("observer", "o") + "\n";
    if (!fd) ::_exit(3);
    // Who is refused may be hung up on before this; what it was told is there to be read all the same.
    if (::send(fd->get(), hello_line.data(), hello_line.size(), MSG_NOSIGNAL) < 0 && errno != EPIPE) ::_exit(6);
    pollfd wait{.fd = fd->get(), .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, 60'000) != 1) ::_exit(4);
    BarePeer peer(std::move(*fd));
    ::_exit(!peer.lines().empty() && peer.lines()[0] == expected ? 0 : 5);
  }
  // Its exit code, once it has ended.
  std::optional<int> ended() {
    int status = -1;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
};

TEST_F(HubTest, OnlyOurOwnUserRootAndMembersOfTheGroupMaySubscribe) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT TESTED: only root can become somebody else";
  constexpr gid_t kGroup = 54321, kElse = 54322;
  serve({.max_subscribers = 8, .patience = {}, .group = kGroup});
  ASSERT_EQ(::chmod(dir_.file("").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0666), 0);
  const std::string refused = R"({"refused":"uid 65534 may not subscribe"})", welcome = R"({"welcome":1,"live":false})";
  struct Row {
    gid_t group;
    std::vector<gid_t> further;
    std::string answer;
  };
  for (const Row& row : {Row{kElse, {}, refused}, Row{kElse, {kElse, 1}, refused}, Row{kGroup, {}, welcome},
                         Row{kElse, {kElse, kGroup}, welcome}}) {
    Stranger stranger(path_, row.group, row.further, row.answer);
    std::optional<int> code;
    ASSERT_TRUE(until([&] { return (code = stranger.ended()).has_value(); }));
    EXPECT_EQ(*code, 0) << row.group << " " << row.further.size();
  }
  EXPECT_EQ(counter(Counter::hub_strangers), 2u);
}

TEST_F(HubTest, WithoutAGroupNobodyElseMaySubscribe) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT TESTED: only root can become somebody else";
  serve();
  ASSERT_EQ(::chmod(dir_.file("").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0666), 0);
  Stranger stranger(path_, 0, {0}, R"({"refused":"uid 65534 may not subscribe"})");  // root's group is not root
  std::optional<int> code;
  ASSERT_TRUE(until([&] { return (code = stranger.ended()).has_value(); }));
  EXPECT_EQ(*code, 0);
}

TEST_F(HubTest, WhoSaysNothingIsHungUpOn) {
  serve({.max_subscribers = 8, .patience = {.hello_within = 5ms, .stalled_after = 1h}});
  auto mute = connect();
  ASSERT_TRUE(until([&] { return mute.eof(); }));
  EXPECT_EQ(counter(Counter::hub_nonsense), 1u);
}

TEST_F(HubTest, GarbageClosesThatPeerOnly) {
  serve();
  auto good = subscriber("resumer", "g");
  for (const std::string& bytes : {std::string("GET / HTTP/1.1"), std::string("{}"), std::string("\xff\0\x01", 3),
                                   std::string(R"({"hello":1})"), std::string(100'000, 'x')}) {
    auto bad = connect();
    bad.say(bytes);
    ASSERT_TRUE(until([&] { return bad.eof(); })) << bytes.substr(0, 20);
  }
  EXPECT_EQ(counter(Counter::hub_nonsense), 5u);
  EXPECT_EQ(counter(Counter::hub_versions), 0u);
  hub_->notification(kKind, payload(1));
  ASSERT_TRUE(until([&] { return good.count(wake(1)) == 1; }));
}

TEST_F(HubTest, AnotherVersionIsRefusedWithTheReason) {
  serve();
  auto peer = connect();
  peer.say(R"({"hello":2,"role":"resumer","group":"g","channels":[]})");
  ASSERT_TRUE(until([&] { return peer.eof(); }));
  EXPECT_EQ(peer.lines(), (Lines{R"({"refused":"hello: version 2, this hub speaks version 1"})"}));
  EXPECT_EQ(counter(Counter::hub_versions), 1u);
  EXPECT_EQ(counter(Counter::hub_nonsense), 0u);
}

TEST_F(HubTest, WhoSpeaksAfterItsHelloIsHungUpOn) {
  serve();
  auto peer = subscriber("resumer", "g");
  peer.say(hello("resumer", "g"));
  ASSERT_TRUE(until([&] { return peer.eof(); }));
  EXPECT_TRUE(until([&] { return counter(Counter::subscribers) == 0; }));
  EXPECT_EQ(counter(Counter::hub_nonsense), 1u);
}

TEST_F(HubTest, OneTooManyIsRefusedAndAPlaceThatIsFreeAgainIsGiven) {
  serve({.max_subscribers = 2, .patience = {}});
  auto first = subscriber("resumer", "g");
  auto second = subscriber("resumer", "g");
  auto third = connect();
  ASSERT_TRUE(until([&] { return third.eof(); }));
  EXPECT_EQ(third.lines(), (Lines{R"({"refused":"too many subscribers, at most 2"})"}));
  EXPECT_EQ(counter(Counter::hub_crowded), 1u);
  first.hang_up();
  ASSERT_TRUE(until([&] { return hub_->subscribers() == 1; }));
  auto fourth = subscriber("resumer", "g");
  EXPECT_EQ(hub_->subscribers(), 2u);
}

TEST_F(HubTest, TimersAreToldWhoseSessionIsGone) {
  serve();
  auto timer = subscriber("timer", "timer");
  auto other_timer = subscriber("timer", "timer");
  auto bystander = subscriber("resumer", "b");
  auto worker = subscriber("resumer", "g", R"(,"session":123)");
  auto nameless = subscriber("resumer", "g");
  nameless.hang_up();
  worker.hang_up();
  const std::string gone = R"({"gone":123})";
  ASSERT_TRUE(until([&] { return timer.count(gone) == 1 && other_timer.count(gone) == 1; }));
  EXPECT_EQ(timer.lines().size(), 3u);
  EXPECT_EQ(bystander.lines().size(), 2u);
}

TEST_F(HubTest, AMemberThatLeavesHandsItsInstancesToTheOthers) {
  serve();
  auto first = subscriber("resumer", "g");
  auto second = subscriber("resumer", "g");
  first.hang_up();
  ASSERT_TRUE(until([&] { return hub_->subscribers() == 1; }));
  for (int i = 0; i < 20; ++i) hub_->notification(kKind, payload(i));
  ASSERT_TRUE(until([&] { return second.lines().size() == 22; }));
}

TEST_F(HubTest, ForgedPayloadsAreCountedAndDropped) {
  serve();
  auto peer = subscriber("resumer", "g");
  for (const char* forged : {"x", "[]", "{", "\xff"}) hub_->notification(kKind, forged);
  hub_->notification(kKind, std::string(8001, ' '));
  hub_->notification(kKind, "{\"a\":\n1}");
  const std::string honest = proc::encode_wake(kKind, R"({"a":1})");
  ASSERT_TRUE(until([&] { return peer.count(honest) == 1; }));
  EXPECT_EQ(peer.lines().size(), 3u);
  EXPECT_EQ(counter(Counter::notifications_bad), 5u);
  EXPECT_EQ(counter(Counter::notifications), 6u);
}

TEST_F(HubTest, SubscribersSeeTheEndWhenTheHubGoes) {
  serve();
  auto peer = subscriber("resumer", "g");
  hub_->notification(kKind, payload(1));
  hub_.reset();
  ASSERT_TRUE(until([&] { return peer.eof(); }));
}

}  // namespace
}  // namespace romancy::listener
