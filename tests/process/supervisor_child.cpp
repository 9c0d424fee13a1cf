// supervisor_child: plays listener, timer, relay, worker and `romancy migrate` in the supervisor's tests. How it
// behaves stands in the file $ROMANCY_TEST_DIR/<component>.does, read at each start; what it did goes, one line each,
// to $ROMANCY_TEST_DIR/events.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include "common/io/alarm.hpp"
#include "common/proc/inherited.hpp"
#include "common/proc/process.hpp"

namespace {

using namespace romancy;

std::string directory() {
  const char* dir = std::getenv("ROMANCY_TEST_DIR");
  return dir ? dir : "/nonexistent";
}

void event(const std::string& what) {
  const int fd = ::open((directory() + "/events").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const std::string line = what + "\n";
  if (::write(fd, line.data(), line.size()) < 0) std::abort();  // one write: lines of several processes do not mix
  ::close(fd);
}

std::string behaviour(const std::string& component) {
  std::string word;
  std::ifstream(directory() + "/" + component + ".does") >> word;
  return word;
}

std::string open_descriptors() {
  std::set<int> fds;
  DIR* dir = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(dir)) fds.insert(std::atoi(entry->d_name));
  }
  ::closedir(dir);
  std::string text;
  for (int fd : fds) text += (text.empty() ? "" : ",") + std::to_string(fd);
  return text;
}

class Actor final : public proc::Service {
 public:
  Actor(proc::Process& process, std::string does)
      : process_(process), does_(std::move(does)), file_poll_(process.loop(), [this] { look(); }),
        hear_poll_(process.loop(), [this] { listen(); }) {
    if (does_ == "freezes") {
      for (;;) ::pause();
    }
  }

  void start() override {
    if (does_ == "crashes-early") ::_exit(3);
    if (does_ == "database-away") ::_exit(proc::kExitDatabase);
    if (does_ == "no-pdeathsig") ::prctl(PR_SET_PDEATHSIG, 0);
    if (does_ == "ignores-abort") ::signal(SIGABRT, SIG_IGN);
    if (does_ == "refuses") return process_.finish(proc::kExitConfig);
    if (does_ == "never-ready") return;
    if (does_ == "leaves-a-child") {
      const pid_t pid = ::fork();
      if (pid == 0) {
        ::signal(SIGTERM, SIG_IGN);
        for (;;) ::pause();
      }
      event(process_.component() + " child " + std::to_string(pid));
    }
    process_.slot().add(proc::Counter::claims);
    event(process_.component() + " ready " + std::to_string(::getpid()));
    process_.ready();
    listen();
    if (process_.once()) process_.finish(proc::kExitOk);
  }

  void drain(std::function<void()> done) override {
    event(process_.component() + " draining");
    if (does_ == "deaf") return;
    done_ = std::move(done);
    look();
  }

 private:
  // Plays the listener that hears PostgreSQL: at once, or when the file `hear` is there.
  void listen() {
    if (process_.component() != "listener") return;
    if (does_ == "hears-late" && ::access((directory() + "/hear").c_str(), F_OK) != 0) {
      hear_poll_.set_in(std::chrono::milliseconds(10));
      return;
    }
    process_.slot().live(true);
    event("listener hears " + std::to_string(::getpid()));
  }

  void look() {
    if (does_ == "slow" && ::access((directory() + "/go").c_str(), F_OK) != 0) {
      file_poll_.set_in(std::chrono::milliseconds(10));
      return;
    }
    event(process_.component() + " drained");
    done_();
  }

  proc::Process& process_;
  const std::string does_;
  std::function<void()> done_;
  io::Alarm file_poll_, hear_poll_;
};

int migrate() {
  // One exit code a line; each run takes the first line away.
  std::ifstream in(directory() + "/migrate.does");
  int code = 0;
  in >> code;
  std::string rest((std::istreambuf_iterator<char>(in)), {});
  in.close();
  std::ofstream(directory() + "/migrate.does") << rest;
  event("migrate " + std::to_string(code));
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "migrate") return migrate();
  const char* component = std::getenv(proc::kEnvComponent);
  const std::string name = component ? component : "alone";
  event(name + " fds " + open_descriptors());
  event(name + " notify " + (std::getenv("NOTIFY_SOCKET") ? "yes" : "no"));
  return proc::run_process(argc, argv, {name, "a process of the supervisor's tests"}, [&](proc::Process& process) {
    return std::make_unique<Actor>(process, behaviour(name));
  });
}
