// The listener and the ways in which a network, a server or a resolver fails without saying so.
//
// What needs namespaces (a resolver that hangs, a network that swallows packets) is skipped where they are forbidden,
// and says so.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstring>

#include "tests/process/listener_stage.hpp"

namespace romancy::test {
namespace {

int shell(const std::string& command) { return std::system(("exec 2>/dev/null; " + command).c_str()); }

// An address of the loopback network that no other test uses at the same time.
std::string own_loopback(int number) {
  const int pid = static_cast<int>(::getpid());
  return "127." + std::to_string(64 + pid / 65536 % 64) + "." + std::to_string(pid / 256 % 256) + "." +
         std::to_string((pid + number * 64) % 250 + 2);
}

UniqueFd bound(int type, const std::string& address, int port, sockaddr_in& where) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  where = {};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, address.c_str(), &where.sin_addr);
  socklen_t size = sizeof where;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), size) != 0) return {};
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &size);
  return fd;
}

// A nameserver that answers when the test says so, and every name with the same address.
class Nameserver {
 public:
  explicit Nameserver(const std::string& address) : fd_(bound(SOCK_DGRAM, address, 53, here_)) {}
  [[nodiscard]] bool up() const { return static_cast<bool>(fd_); }
  // Has somebody asked? Questions are kept until answer().
  bool asked() {
    for (;;) {
      Question question;
      socklen_t size = sizeof question.from;
      const ssize_t got = ::recvfrom(fd_.get(), question.bytes.data(), question.bytes.size(), 0,
                                     reinterpret_cast<sockaddr*>(&question.from), &size);
      if (got < 17) return !questions_.empty();
      question.size = static_cast<std::size_t>(got);
      questions_.push_back(question);
    }
  }
  void answer(const std::string& address) {
    asked();
    for (const Question& question : questions_) {
      std::size_t end = 12;
      while (question.bytes[end] != 0) end += static_cast<unsigned char>(question.bytes[end]) + 1u;
      const bool four = question.bytes[end + 2] == 1;  // an A, not an AAAA
      end += 5;
      std::string reply(question.bytes.data(), end);
      reply[2] = '\x81';
      reply[3] = '\x80';
      reply.replace(6, 6, std::string({0, four ? '\1' : '\0', 0, 0, 0, 0}));
      if (four) {
        in_addr number{};
        ::inet_pton(AF_INET, address.c_str(), &number);
        reply += std::string("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4", 12) +
                 std::string(reinterpret_cast<const char*>(&number), sizeof number);
      }
      ::sendto(fd_.get(), reply.data(), reply.size(), 0, reinterpret_cast<const sockaddr*>(&question.from),
               sizeof question.from);
    }
    questions_.clear();
  }

 private:
  struct Question {
    std::array<char, 512> bytes{};
    std::size_t size = 0;
    sockaddr_in from{};
  };
  sockaddr_in here_{};
  UniqueFd fd_;
  std::vector<Question> questions_;
};

class ListenerNetwork : public ListenerProcess {
 protected:
  // Starts the listener as the last words of a shell command, which knows it as "$@".
  void start_in(const std::string& command, const std::string& listener, const std::string& url) {
    listener_.emplace("/bin/sh",
                      std::vector<std::string>{"-c", command, "sh", program_path("romancy-listener"), "--config",
                                               config(listener, url)},
                      log_);
  }
  bool logged_eventually(const std::string& text) {
    return eventually([&] { return listener_->logged(text); });
  }
};

constexpr const char* kQuick =
    "heartbeat_interval = \"100ms\"\nheartbeat_timeout = \"300ms\"\nreconnect_delay = \"10ms\"\n"
    "reconnect_delay_max = \"100ms\"\n";

TEST_F(ListenerNetwork, AResolverThatHangsStopsNothingAndItsAnswerIsConnectedTo) {
  if (shell("unshare -m true") != 0) GTEST_SKIP() << "NOT TESTED: mount namespaces are forbidden here";
  Nameserver nameserver(own_loopback(1));
  if (!nameserver.up()) GTEST_SKIP() << "NOT TESTED: port 53 of " << own_loopback(1) << " cannot be had";
  sockaddr_in server{};
  const UniqueFd listening = bound(SOCK_STREAM, own_loopback(2), 0, server);
  ASSERT_EQ(::listen(listening.get(), 8), 0);
  // The C library waits for half a minute: if the loop waited with it, the hub would be served after it has given up.
  const auto resolv = dir_.write("resolv.conf", "nameserver " + own_loopback(1) + "\noptions timeout:30 attempts:1\n");
  database_ = "connect_timeout = \"10m\"\n";
  start_in("exec unshare -m sh -c 'mount --bind " + resolv + " /etc/resolv.conf && exec \"$@\"' sh \"$@\"",
           "reconnect_delay = \"10ms\"\n",
           "host=db.romancy.example port=" + std::to_string(ntohs(server.sin_port)) + " user=x dbname=x");
  ASSERT_TRUE(eventually([&] { return nameserver.asked(); })) << listener_->log();
  for (int i = 0; i < 20; ++i) {  // the loop turns
    auto peer = observer();
    EXPECT_EQ(peer.lines()[0], R"({"welcome":1,"live":false})");
  }
  EXPECT_FALSE(listener_->logged("reconnecting")) << "it was not served while the resolver hung: " << listener_->log();
  nameserver.answer(own_loopback(2));
  EXPECT_TRUE(eventually([&] {
    pollfd waits{.fd = listening.get(), .events = POLLIN, .revents = 0};
    return ::poll(&waits, 1, 0) == 1;
  })) << listener_->log();
}

TEST_F(ListenerNetwork, AProcessWhoseResolverHangsStopsWhenAsked) {
  if (shell("unshare -m true") != 0) GTEST_SKIP() << "NOT TESTED: mount namespaces are forbidden here";
  Nameserver nameserver(own_loopback(1));
  if (!nameserver.up()) GTEST_SKIP() << "NOT TESTED: port 53 of " << own_loopback(1) << " cannot be had";
  const auto resolv = dir_.write("resolv.conf", "nameserver " + own_loopback(1) + "\noptions timeout:30 attempts:2\n");
  start_in("exec unshare -m sh -c 'mount --bind " + resolv + " /etc/resolv.conf && exec \"$@\"' sh \"$@\"",
           "reconnect_delay = \"10ms\"\n", "host=db.romancy.example user=x dbname=x");
  ASSERT_TRUE(eventually([&] { return nameserver.asked(); })) << listener_->log();
  EXPECT_EQ(listener_->terminate(), 0);  // not 1: that is the stop time-out
}

TEST_F(ListenerNetwork, ANameThatIsNotLookedUpInTimeIsGivenUp) {
  if (shell("unshare -m true") != 0) GTEST_SKIP() << "NOT TESTED: mount namespaces are forbidden here";
  Nameserver nameserver(own_loopback(1));
  if (!nameserver.up()) GTEST_SKIP() << "NOT TESTED: port 53 of " << own_loopback(1) << " cannot be had";
  const auto resolv = dir_.write("resolv.conf", "nameserver " + own_loopback(1) + "\noptions timeout:30 attempts:1\n");
  database_ = "connect_timeout = \"100ms\"\n";
  start_in("exec unshare -m sh -c 'mount --bind " + resolv + " /etc/resolv.conf && exec \"$@\"' sh \"$@\"",
           "reconnect_delay = \"10ms\"\nreconnect_delay_max = \"10ms\"\n", "host=db.romancy.example user=x dbname=x");
  EXPECT_TRUE(logged_eventually("db.romancy.example: the name was not looked up within 100 ms"));
  // Look-ups that hang do not pile up.
  EXPECT_TRUE(logged_eventually("8 look-ups are not answered yet")) << listener_->log();
  auto peer = observer();
}

// The command line may wait, and an activity's thread; but not for as long as a resolver likes.
TEST_F(ListenerNetwork, WhoMayWaitGivesANameUpAfterTheTimeOfAConnectionToo) {
  if (shell("unshare -m true") != 0) GTEST_SKIP() << "NOT TESTED: mount namespaces are forbidden here";
  Nameserver nameserver(own_loopback(1));
  if (!nameserver.up()) GTEST_SKIP() << "NOT TESTED: port 53 of " << own_loopback(1) << " cannot be had";
  const auto resolv = dir_.write("resolv.conf", "nameserver " + own_loopback(1) + "\noptions timeout:30 attempts:1\n");
  database_ = "connect_timeout = \"100ms\"\n";
  const std::string file = config("", "host=db.romancy.example user=x dbname=x");
  Daemon command("/bin/sh", {"-c", "exec unshare -m sh -c 'mount --bind " + resolv + " /etc/resolv.conf && exec \"$@\"' sh \"$@\"", "sh",
                             program_path("romancy"), "--config", file, "list"}, log_);
  const int status = command.wait();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 75);
  EXPECT_TRUE(command.logged("db.romancy.example: the name was not looked up within 100 ms")) << command.log();
  EXPECT_TRUE(nameserver.asked());
}

TEST_F(ListenerNetwork, AHungBackendIsNoticedNamedAndLeft) {
  start(kQuick);
  auto peer = live_observer();
  Backend hung;
  ASSERT_TRUE(eventually([&] { return (hung = backend()).pid != 0; }));
  struct Stopped {
    explicit Stopped(int of) : pid(of) { ::kill(pid, SIGSTOP); }
    ~Stopped() { ::kill(pid, SIGCONT); }
    int pid;
  };
  const Stopped stopped(hung.pid);
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
  EXPECT_EQ(peer.lines(), (std::vector<std::string>{kDeaf, kLive, kGap}));
  EXPECT_TRUE(listener_->logged("connection lost, reconnecting error=\"the heartbeat was not answered within 300ms, "
                                "though it was taken: the server process hangs\" trouble=hung_backend"))
      << listener_->log();
}

TEST_F(ListenerNetwork, AStandbyIsNamedAndPolledOnlyUntilItIsPromoted) {
  PrivateCluster cluster;
  start(kQuick, cluster.conninfo());
  auto peer = live_observer();
  cluster.become_standby();
  ASSERT_TRUE(logged_eventually("the server is a standby: it cannot LISTEN or NOTIFY: cannot execute LISTEN during "
                                "recovery\" trouble=standby"))
      << listener_->log();
  EXPECT_EQ(peer.lines(), std::vector<std::string>{kDeaf});
  cluster.promote();
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
  EXPECT_EQ(peer.lines(), (std::vector<std::string>{kDeaf, kLive, kGap}));
}

TEST_F(ListenerNetwork, AFailoverIsFollowedOverTheListOfHosts) {
  PrivateCluster first, second;
  second.become_standby();
  const auto host = [](const PrivateCluster& cluster) {
    return cluster.conninfo().substr(5, cluster.conninfo().find(' ') - 5);
  };
  start(kQuick, "host=" + host(second) + "," + host(first) +
                    " user=postgres dbname=postgres target_session_attrs=read-write");
  auto peer = live_observer();  // on the second of the list: the first is a standby
  first.stop("immediate");
  ASSERT_TRUE(eventually([&] { return peer.count(kDeaf) == 1; })) << listener_->log();
  second.promote();
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
  const auto speak = pg::Blocking::connect(
      {.conninfo = second.conninfo(), .application_name = "test", .schema = "", .set = {}})
          ->query("SELECT pg_notify($1, $2)", pg::Params(schema_ + "_outbox_pending", R"({"on":"the new one"})"));
  ASSERT_TRUE(speak.has_value());
  EXPECT_TRUE(eventually([&] { return peer.lines().back() == R"({"wake":"outbox_pending","payload":{"on":"the new one"}})"; }));
}

// A network of its own with two ends: the listener lives at one, PostgreSQL listens at the other.
class Wire {
 public:
  Wire() {
    const int pid = static_cast<int>(::getpid());
    name_ = "rl" + std::to_string(pid);
    const std::string net = "10." + std::to_string(64 + pid / 65536 % 64) + "." + std::to_string(pid / 256 % 256) + ".";
    server_ = net + std::to_string(pid % 60 * 4 + 1);
    client_ = net + std::to_string(pid % 60 * 4 + 2);
    up_ = shell("ip netns add " + name_ + " && ip link add " + name_ + "a type veth peer name " + name_ + "b netns " + name_ +
                " && ip addr add " + server_ + "/30 dev " + name_ + "a && ip link set " + name_ + "a up" +
                " && ip netns exec " + name_ + " ip addr add " + client_ + "/30 dev " + name_ + "b" +
                " && ip netns exec " + name_ + " ip link set " + name_ + "b up") == 0;
  }
  ~Wire() {
    shell("ip link del " + name_ + "a");
    shell("ip netns del " + name_);
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] const std::string& server() const { return server_; }
  [[nodiscard]] std::string inside() const { return "exec ip netns exec " + name_ + " \"$@\""; }
  // From now on whatever the listener sends goes to a machine that is not there.
  bool cut() {
    return shell("ip netns exec " + name_ + " ip neigh replace " + server_ + " lladdr 02:00:00:00:00:99 dev " + name_ +
                 "b nud permanent") == 0;
  }
  bool mend() { return shell("ip netns exec " + name_ + " ip neigh del " + server_ + " dev " + name_ + "b") == 0; }

 private:
  std::string name_, server_, client_;
  bool up_ = false;
};

TEST_F(ListenerNetwork, ANetworkThatSwallowsPacketsIsNoticedNamedAndHealed) {
  Wire wire;
  if (!wire.up()) GTEST_SKIP() << "NOT TESTED: network namespaces are forbidden here";
  PrivateCluster cluster("listen_addresses = '" + wire.server() + "'");
  database_ = "connect_timeout = \"200ms\"\n";
  start_in(wire.inside(), kQuick, "host=" + wire.server() + " user=postgres dbname=postgres");
  auto peer = live_observer();
  ASSERT_TRUE(wire.cut());
  ASSERT_TRUE(logged_eventually("and what we sent is not acknowledged: the network or the host is gone\" "
                                "trouble=black_hole"))
      << listener_->log();
  ASSERT_TRUE(logged_eventually(wire.server() + ": no answer within 200 ms")) << listener_->log();
  EXPECT_EQ(peer.lines(), std::vector<std::string>{kDeaf});
  ASSERT_TRUE(wire.mend());
  ASSERT_TRUE(eventually([&] { return peer.count(kGap) == 1; })) << listener_->log();
}

// Over TCP, so that the server may have keepalives at all.
TEST_F(ListenerNetwork, TheServersOwnKeepalivesAreSetFromOurSide) {
  const std::string address = own_loopback(3);
  PrivateCluster cluster("listen_addresses = '" + address + "'");
  const auto shown = [&](const std::string& conninfo, const std::string& setting) {
    auto conn = pg::Blocking::connect({.conninfo = conninfo, .application_name = "test", .schema = "", .set = {}});
    EXPECT_TRUE(conn.has_value()) << conn.error().text;
    return conn ? conn->query("SELECT current_setting($1)", pg::Params(setting))->str(0, 0) : std::string();
  };
  const std::string tcp = "host=" + address + " user=postgres dbname=postgres";
  EXPECT_EQ(shown(tcp, "tcp_keepalives_idle"), "10");
  EXPECT_EQ(shown(tcp, "tcp_keepalives_interval"), "5");
  EXPECT_EQ(shown(tcp, "tcp_keepalives_count"), "3");
  EXPECT_EQ(shown(tcp, "tcp_user_timeout"), "15000");  // ms
  EXPECT_EQ(shown(cluster.conninfo(), "tcp_user_timeout"), "0");  // a Unix socket has none, and does not mind
}

// The log's reader has stopped: everything goes on, and the lines that nobody took are counted.
TEST_F(ListenerNetwork, AStoppedReaderOfTheLogDoesNotStopTheListener) {
  const std::string fifo = dir_.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(::open(fifo.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  log_ = fifo;
  listener_.emplace("romancy-listener",
                    std::vector<std::string>{"--config", config("heartbeat_interval = \"100ms\"\n", conninfo_)}, fifo);
  std::optional<BarePeer> peer;
  ASSERT_TRUE(eventually([&] {
    auto fd = io::connect_unix(hub());
    if (fd) peer.emplace(std::move(*fd));
    return peer.has_value();
  }));
  peer->say(R"({"hello":1,"role":"observer","group":"o","channels":["outbox_pending"]})");
  ASSERT_TRUE(eventually([&] { return peer->count(kLive) + peer->count(R"({"welcome":1,"live":true})") == 1; }));
  const std::string group(900, 'g');
  for (int i = 0; i < 200; ++i) {  // each says twice a kilobyte and more; a pipe holds 64
    auto passing = BarePeer::connect(hub());
    passing.say(R"({"hello":1,"role":"resumer","group":")" + group + R"(","channels":[]})");
    ASSERT_TRUE(eventually([&] { return passing.lines().size() == 2; }));
  }
  notify("outbox_pending", R"({"still":"heard"})");
  ASSERT_TRUE(eventually([&] { return peer->count(R"({"wake":"outbox_pending","payload":{"still":"heard"}})") == 1; }));
  EXPECT_EQ(listener_->terminate(), 0);
}

}  // namespace
}  // namespace romancy::test
