#include <signal.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/soak/soak.hpp"

namespace romancy::soak {

using namespace std::chrono_literals;

void start_server(test::Site& site, std::unique_ptr<test::Daemon>& server) {
  server.reset();
  server = std::make_unique<test::Daemon>("soak_server", std::vector<std::string>{}, site.dir().path() + "/server.log",
                                          std::map<std::string, std::string>{{"FAULTS_PG", site.server().conninfo()}});
}

Chaos::Chaos(const SoakOptions& options, test::Site& site, std::unique_ptr<test::Daemon>& server, std::atomic<int>& receiver_trouble)
    : random_(options.seed ^ 0x5eed0fc4a05U), long_stops_(options.blows == SoakOptions::Blows::long_stops), site_(site), server_(server), receiver_trouble_(receiver_trouble), thread_([this] { run(); }) {}

Chaos::~Chaos() {
  rest();
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Chaos::rest() {
  std::unique_lock lock(mutex_);
  stop_ = true;
  wake_.notify_all();
  wake_.wait(lock, [this] { return resting_; });
}

std::map<std::string, int> Chaos::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void Chaos::pause(std::chrono::milliseconds length) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, length, [this] { return stop_; });
}

void Chaos::run() {
  for (;;) {
    pause(std::chrono::milliseconds(random_.between(200, 2200)));
    {
      std::unique_lock lock(mutex_);
      if (stop_) {
        resting_ = true;
        wake_.notify_all();
        wake_.wait(lock, [this] { return gone_; });
        return;
      }
    }
    blow();
  }
}

void Chaos::kill(const std::string& component, int signal) {
  const auto pids = site_.pids();
  const auto victim = pids.find(component);
  if (victim != pids.end()) ::kill(victim->second, signal);  // it may have died by itself meanwhile
}

void Chaos::blow() {
  static const char* const kComponents[] = {"worker.1", "worker.2", "other.1", "timer", "listener", "relay"};
  // All numbers are drawn whatever the choice, so that a new kind of blow moves none of the others'.
  int what = random_.below(100), which = random_.below(6), ms = random_.chance(40) ? random_.between(2500, 6000) : random_.between(20, 1500);
  const auto number = random_.next();
  if (long_stops_) what = 50, which = which % 3, ms = 3500 + ms / 4;
  std::string name;
  try {
    if (what < 34) {
      name = std::string("kill ") + kComponents[which];
      kill(kComponents[which], SIGKILL);
    } else if (what < 38) {
      name = "kill all workers";
      kill("worker.1", SIGKILL);
      kill("worker.2", SIGKILL);
      kill("other.1", SIGKILL);
    } else if (what < 46) {
      name = "kill the SQL server of a queue";
      start_server(site_, server_);
    } else if (what < 50) {
      name = "kill the supervisor";
      site_.supervisor().kill9();
      site_.start_supervisor();
    } else if (what < 66) {
      name = std::string("stop and continue ") + kComponents[which];
      const auto pids = site_.pids();
      const auto victim = pids.find(kComponents[which]);
      if (victim != pids.end()) {
        ::kill(victim->second, SIGSTOP);
        pause(std::chrono::milliseconds(ms));
        ::kill(victim->second, SIGCONT);
      }
    } else if (what < 69) {
      name = "stop and continue the SQL server of a queue";
      server_->signal(SIGSTOP);
      pause(std::chrono::milliseconds(ms));
      server_->signal(SIGCONT);
    } else if (what < 73) {
      name = "restart PostgreSQL, fast";
      site_.server().stop("fast");
      pause(std::chrono::milliseconds(ms / 3));
      site_.server().start();
    } else if (what < 77) {
      name = "restart PostgreSQL, immediate";
      site_.server().stop("immediate");
      pause(std::chrono::milliseconds(ms / 3));
      site_.server().start();
    } else if (what < 90) {
      name = "terminate a connection";
      pg::ConnOptions options;
      options.conninfo = site_.server().conninfo();
      if (auto conn = pg::Blocking::connect(options)) {
        auto ended = conn->query("SELECT pg_terminate_backend(pid) FROM (SELECT pid, row_number() OVER (ORDER BY application_name, pid) - 1 AS n, count(*) OVER () AS all FROM pg_stat_activity "
                                 "WHERE usename = 'suite' OR application_name LIKE 'soak-%') b WHERE n = $1 % b.all",
                                 pg::Params(static_cast<std::int64_t>(number >> 2)));
        if (!ended) std::fprintf(stderr, "soak: terminate: %s\n", ended.error().text.c_str());
      }
    } else if (what < 94) {
      name = std::string("restart ") + kComponents[which] + " as an operator does";
      site_.cli(std::string("restart ") + kComponents[which]);
    } else {
      name = "the receiver fails";
      receiver_trouble_ = 1 + static_cast<int>(number % 3);
      pause(std::chrono::milliseconds(ms));
      receiver_trouble_ = 0;
    }
  } catch (const std::exception& e) {
    ADD_FAILURE() << name << ": " << e.what();
  }
  const std::lock_guard lock(mutex_);
  ++counts_[name];
}

}  // namespace romancy::soak
