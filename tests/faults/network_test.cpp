// N1..N4: networks.
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/site.hpp"
#include "tests/support/chaos_proxy.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

// Two network namespaces and a cable between them: the server is at the other end.
class Cable {
 public:
  Cable() : name_("rf" + std::to_string(::getpid())) {
    shell("ip netns add " + name_);
    shell("ip link add " + name_ + "a type veth peer name " + name_ + "b && ip link set " + name_ + "b netns " + name_);
    shell("ip addr add 10.213.7.1/24 dev " + name_ + "a && ip link set " + name_ + "a up");
    shell("ip -n " + name_ + " addr add 10.213.7.2/24 dev " + name_ + "b && ip -n " + name_ + " link set " + name_ + "b up && ip -n " + name_ + " link set lo up");
  }
  ~Cable() {
    try_shell("ip link del " + name_ + "a");
    try_shell("ip netns del " + name_);
  }
  Cable(const Cable&) = delete;
  Cable& operator=(const Cable&) = delete;
  [[nodiscard]] std::string inside() const { return "ip netns exec " + name_; }
  // Packets leave for an address that nobody has, on both sides: nothing arrives, and nobody is told.
  void wrong_mac() const {
    shell("ip neigh replace 10.213.7.2 lladdr 02:00:00:00:00:99 dev " + name_ + "a nud permanent");
    shell("ip -n " + name_ + " neigh replace 10.213.7.1 lladdr 02:00:00:00:00:98 dev " + name_ + "b nud permanent");
  }
  void right_mac() const {
    shell("ip neigh del 10.213.7.2 dev " + name_ + "a && ip -n " + name_ + " neigh del 10.213.7.1 dev " + name_ + "b");
  }

 private:
  std::string name_;
};

TEST(Faults, N1_BlackHole) {
  ROMANCY_NEEDS(why_no_namespaces());
  const Cable cable;
  SiteOptions options;
  options.server.before = cable.inside();
  options.server.address = "10.213.7.2";
  auto noticed = std::make_shared<std::int64_t>(0);
  run({.id = "N1", .fault = "packets to and from PostgreSQL vanish", .bound = 15s,
       .inject = [&, noticed](Site& s) {
         const auto begun = s.now_us();
         cable.wrong_mac();
         EXPECT_TRUE(eventually([&] {
           const Json one = s.component("listener");
           return !one.is_null() && !one.value("live", true);
         })) << s.log();
         *noticed = (s.now_us() - begun) / 1000;
         EXPECT_LE(*noticed, std::getenv("ROMANCY_FAULTS_STRICT") ? 15'500 : 60'000);
       },
       .heal = [&](Site&) { cable.right_mac(); },
       .proof = [noticed](Site& s) {
         return s.counter("listener", "reconnects") > 0 ? "noticed by the listener after " + std::to_string(*noticed) + " ms; time counted from the end of it" : "";
       },
       .bound_text = "noticed within 15 s",
       .options = options});
}

// All of the suite through the proxy; the load and the oracle are not.
struct Through {
  std::shared_ptr<std::unique_ptr<ChaosProxy>> proxy = std::make_shared<std::unique_ptr<ChaosProxy>>();
  SiteOptions options{};
  Through() {
    options.url = [proxy = proxy](Server& server) {
      *proxy = std::make_unique<ChaosProxy>("127.0.0.1:0", "127.0.0.1:" + std::to_string(server.port()));
      return "host=127.0.0.1 port=" + std::to_string((*proxy)->port()) + " user=suite dbname=faults";
    };
  }
};

std::string new_connections(Site& site) {
  const auto times = site.counter("listener", "reconnects");
  return times > 0 ? "the listener connected again " + std::to_string(times) + (times == 1 ? " time" : " times") : "";
}

TEST(FaultsSmoke, N2_Resets) {
  const Through through;
  run({.id = "N2a", .fault = "all connections are reset, 5 times", .bound = 2s,
       .inject = [=](Site& s) {
         for (int i = 0; i < 5; ++i) {
           (*through.proxy)->reset();
           s.expect_progress();
         }
       },
       .proof = new_connections, .options = through.options});
}

TEST(Faults, N2_HalfClosed) {
  const Through through;
  run({.id = "N2b", .fault = "all connections are half closed, 3 times", .bound = 2s,
       .inject = [=](Site& s) {
         for (int i = 0; i < 3; ++i) {
           (*through.proxy)->half_close();
           s.expect_progress();
         }
       },
       .proof = new_connections, .options = through.options});
}

// How it is while it lasts is said; the bound is for its end.
void weather(const char* id, const char* fault, Weather bad, bool connect_in_it) {
  const Through through;
  run({.id = id, .fault = fault, .bound = 10s,
       .inject = [=](Site& s) {
         (*through.proxy)->weather(bad);
         if (connect_in_it) (*through.proxy)->reset();
         const auto until = s.now_us() + 5'000'000;
         while (s.now_us() < until && !testing::Test::HasFailure()) s.expect_progress(10);
         (*through.proxy)->weather({});
       },
       .proof = [=](Site& s) {
         for (const auto& [name, pid] : s.pids()) {
           if (s.restarts(name) != 0) return std::string();
         }
         return (*through.proxy)->bytes() > 100'000 ? std::string("no error of the protocol, slower only; the longest wait of a probe is what it cost") : "";
       },
       .bound_text = "slower only",
       .options = through.options});
}

TEST(Faults, N2_OneByteSlices) { weather("N2c", "each byte in a segment of its own", {.slices = true}, true); }
TEST(Faults, N2_Latency) { weather("N2d", "200 ms latency each way", {.latency = 200ms}, true); }
TEST(Faults, N2_Throttled) { weather("N2e", "10 kB/s a connection", {.bytes_per_second = 10'000}, false); }

TEST(Faults, N2_BlackHoleInAProxy) {
  const Through through;
  run({.id = "N2f", .fault = "a proxy takes everything and passes on nothing", .bound = 15s,
       .inject = [=](Site& s) {
         (*through.proxy)->weather({.black_hole = true});
         EXPECT_TRUE(eventually([&] {
           const Json one = s.component("listener");
           return !one.is_null() && !one.value("live", true);
         })) << s.log();
         // And a new connection, which the proxy takes, is given up in its turn.
         EXPECT_TRUE(eventually([&] { return s.logged("no answer within") > 0; })) << s.log();
       },
       .heal = [=](Site&) { (*through.proxy)->weather({}); },
       .proof = new_connections, .options = through.options});
}

// The name of the server leads to a resolver that never answers: the loops turn all the same, so the supervisor, which looks
// at each child's beat, has no reason to kill anybody.
TEST(Faults, N3_ResolverThatNeverAnswers) {
  ROMANCY_NEEDS(why_no_namespaces());
  TempDir dir;
  dir.write("resolv.conf", "nameserver 192.0.2.1\noptions timeout:30 attempts:5\n");
  dir.write("nsswitch.conf", "hosts: dns\n");
  const std::string config = dir.write("romancy.toml", "[database]\nurl = \"host=database.example user=suite dbname=faults\"\n[runtime]\ndir = \"" +
                                                            dir.path() + "/run\"\n[supervisor]\nhang_timeout = \"3s\"\n");
  // 192.0.2.1 is documentation's; in an empty network namespace one end of a cable makes it a place to which packets go and stay.
  const std::string script = "ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d1 up && ip addr add 192.0.2.2/24 dev d0 && ip link set d0 up && "
                             "ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:99 dev d0 nud permanent && mount --bind " + dir.path() +
                             "/resolv.conf /etc/resolv.conf && mount --bind " + dir.path() + "/nsswitch.conf /etc/nsswitch.conf && exec " +
                             program_path("romancy-supervisor") + " --config " + config;
  Daemon supervisor("/usr/bin/unshare", {"-n", "-m", "sh", "-c", script}, dir.path() + "/log");
  std::string text;
  const auto status = [&]() -> Json {
    std::FILE* pipe = ::popen((program_path("romancy") + " --config " + config + " status --json 2>/dev/null").c_str(), "re");
    std::string all;
    char buffer[4096];
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) all.append(buffer, got);
    ::pclose(pipe);
    const auto json = parse_json(all, "status");
    return json ? *json : Json(nullptr);
  };
  ASSERT_TRUE(eventually([&] { return !status().is_null(); })) << supervisor.log();
  // Longer than hang_timeout, by the supervisor's own clock.
  EXPECT_TRUE(eventually([&] { return status()["supervisor"].value("uptime_ms", 0) > 10'000; })) << supervisor.log();
  const Json last = status();
  int processes = 0;
  for (const Json& one : last.at("components")) {
    ++processes;
    EXPECT_EQ(one.value("restarts", 0), 0) << one.value("name", "") << ": " << one.value("why", "");
  }
  EXPECT_GE(processes, 3);
  EXPECT_FALSE(supervisor.logged("hung")) << supervisor.log();
  supervisor.terminate();
  report({.id = "N3", .fault = "the resolver never answers", .inject = {}, .proof = {}, .bound_text = "no loop stands still"},
         "no process was found hanging in 10 s (hang_timeout: 3 s)", std::nullopt);
}

TEST(Faults, N4_ReceiverInEveryBadMood) {
  auto met = std::make_shared<std::map<std::string, int>>();
  auto inward = std::make_shared<HttpServer>([](const HttpRequest&) { return http_answer(204); });
  run({.id = "N4", .fault = "the receiver: 500, 429, silence, hang-up, nonsense, a huge body, a redirect inward", .bound = 10s,
       .inject = [=](Site& s) {
         const std::map<std::string, std::string> moods{
             {"500", http_answer(500, "no")},
             {"429", http_answer(429, "", "Retry-After: 1\r\n")},
             {"silence", kSilence},
             {"hang-up", kHangUp},
             {"nonsense", "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
             {"huge body", http_answer(503, std::string(4 << 20, 'x'))},
             {"redirect", http_answer(302, "", "Location: " + inward->url() + "\r\n")},
         };
         for (const auto& [name, answer] : moods) {
           s.script_receiver([answer = answer](const HttpRequest&) { return answer; });
           const auto failed = s.counter("relay", "events_failed");
           EXPECT_TRUE(eventually([&] { return s.counter("relay", "events_failed") >= failed + 3; })) << name << s.log();
           (*met)[name] = 1;
           s.expect_progress(5);  // workflows do not wait for it
         }
       },
       .heal = [](Site& s) { s.script_receiver({}); },
       .proof = [=](Site& s) { return met->size() == 7 && inward->count() == 0 && s.restarts("relay") == 0 ? std::string("each was tried again; workflows went on; the redirect was not followed") : ""; },
       .options = {.relay = "timeout = \"1s\"\n"}});
}

}  // namespace
}  // namespace romancy::test
