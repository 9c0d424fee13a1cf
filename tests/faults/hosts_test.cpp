// P13: two hosts with one database. Each has a whole suite, and no process of the one knows of any of the other.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

#include "tests/support/site.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

// Everything a host has of its own: its name, its runtime directory, its supervisor. Its workers are called "other.1" and
// "other.2", so that their sessions can be told from the first host's.
class OtherHost {
 public:
  explicit OtherHost(Site& site) : site_(site), run_(dir_.path() + "/run") {
    std::string toml = site.toml();
    replace(toml, "dir = \"" + site.runtime_dir() + "\"", "dir = \"" + run_ + "\"");
    replace(toml, "name = \"worker\"", "name = \"other\"");
    config_ = dir_.write("romancy.toml", toml);
    const std::string name = try_shell("unshare --uts hostname other") == 0 ? "hostname other; " : "";
    supervisor_ = std::make_unique<Daemon>(
        name.empty() ? "/bin/sh" : "/usr/bin/unshare",
        name.empty() ? std::vector<std::string>{"-c", command()} : std::vector<std::string>{"--uts", "sh", "-c", name + command()}, dir_.path() + "/log",
        std::map<std::string, std::string>{{"FAULTS_PG", site.server().conninfo()}, {"FAULTS_DIR", site.dir().path()}});
    EXPECT_TRUE(eventually([&] { return all_ready(); })) << log();
  }

  // Who is there: each component, and the supervisor.
  std::map<std::string, pid_t> pids() {
    std::map<std::string, pid_t> found;
    const Json all = site_.status(config_);
    if (all.is_null()) return found;
    for (const Json& one : all.at("components")) found[one.value("name", "")] = one.value("pid", 0);
    found["supervisor"] = supervisor_->pid();
    return found;
  }
  bool all_ready() {
    const Json all = site_.status(config_);
    if (all.is_null() || all.at("components").size() != 5) return false;
    return std::all_of(all.at("components").begin(), all.at("components").end(),
                       [](const Json& one) { return one.value("state", "") == "ready" && one.value("live", false); });
  }
  // Probes that its workers hold: those are what the time is taken of.
  std::int64_t leases() {
    return site_.count("SELECT count(*) FROM romancy.instances i JOIN romancy.sessions s USING (session_id) WHERE s.worker LIKE 'other.%' AND i.instance_id LIKE 'p-%'");
  }
  std::int64_t restarts(const std::string& name) {
    const Json all = site_.status(config_);
    if (all.is_null()) return 0;
    for (const Json& one : all.at("components")) {
      if (one.value("name", "") == name) return one.value("restarts", std::int64_t{0});
    }
    return 0;
  }
  std::int64_t sessions() { return site_.count("SELECT count(*) FROM romancy.sessions WHERE worker LIKE 'other.%'"); }

  // All of it at one moment, with work in hand: it stands still first, so that none of its processes sees another one die.
  std::int64_t dies_at_once() {
    const auto all = pids();
    EXPECT_EQ(all.size(), 6u);
    const auto everybody = [&](int signal) {
      for (const auto& [name, pid] : all) EXPECT_EQ(::kill(pid, signal), 0) << name;
    };
    std::int64_t held = 0;
    EXPECT_TRUE(eventually([&] {
      everybody(SIGSTOP);
      held = leases();
      if (held == 0) everybody(SIGCONT);
      return held > 0;
    })) << "it never had anything in hand";
    everybody(SIGKILL);
    for (const auto& [name, pid] : all) EXPECT_TRUE(eventually([pid = pid] { return process_gone(pid); })) << name;
    supervisor_->kill9();  // reaps
    return held;
  }
  void stop() { EXPECT_EQ(supervisor_->terminate(), 0) << log(); }
  [[nodiscard]] std::string log() const { return supervisor_->log(); }
  [[nodiscard]] const std::string& config() const { return config_; }

 private:
  static void replace(std::string& text, const std::string& what, const std::string& with) {
    const auto at = text.find(what);
    ASSERT_NE(at, std::string::npos) << what;
    text.replace(at, what.size(), with);
  }
  [[nodiscard]] std::string command() const { return "exec " + program_path("romancy-supervisor") + " --config " + config_; }

  Site& site_;
  TempDir dir_;
  std::string run_, config_;
  std::unique_ptr<Daemon> supervisor_;
};

// The first host is told by nobody: the sessions of the other one expire, and its timer looks at that moment.
TEST(Faults, P13_HostGone) {
  auto held = std::make_shared<std::int64_t>(0);
  auto left = std::make_shared<std::int64_t>(-1);
  run({.id = "P13a", .fault = "one of two hosts is gone: all its processes, the supervisor too, are killed at once and stay away", .bound = 11s,
       .inject = [=](Site& s) {
         OtherHost other(s);
         s.expect_progress(60);  // of both
         *held = other.dies_at_once();
         EXPECT_TRUE(eventually([&] { return other.sessions() == 0; })) << "its sessions stay\n" << s.log();
         *left = other.leases();
       },
       .proof = [=](Site& s) {
         const auto ended = s.counter("timer", "sessions_ended");
         return *held > 0 && *left == 0 && ended >= 3 ? std::to_string(ended) + " sessions expired; the other host took over what they held (" + std::to_string(*held) + " probes)" : "";
       },
       .events = true,
       .bound_text = "the session time-out, 10 s, and 1 s"});
}

// What the one host does not hear the other one does; and what it has in hand it finds by its own polls.
TEST(Faults, P13_ListenerOfOneOfTwoHosts) {
  auto kills = std::make_shared<std::int64_t>(0);
  run({.id = "P13b", .fault = "the listener of one of two hosts is killed, 4 times", .bound = 2s,
       .inject = [=](Site& s) {
         OtherHost other(s);
         for (int i = 0; i < 4 && !testing::Test::HasFailure(); ++i) {
           const pid_t victim = other.pids()["listener"];
           ASSERT_GT(victim, 0);
           ASSERT_EQ(::kill(victim, SIGKILL), 0);
           s.expect_progress(10);
           EXPECT_TRUE(eventually([&] { return other.pids()["listener"] != victim && other.all_ready(); }, 90s)) << other.log();
         }
         *kills = other.restarts("listener");
         EXPECT_EQ(s.restarts("listener"), 0) << "the first host's own";
         other.stop();
         EXPECT_EQ(other.sessions(), 0);
       },
       .proof = [=](Site&) { return *kills == 4 ? std::string("started again each time; the other host's was left alone") : ""; }});
}

}  // namespace
}  // namespace romancy::test
