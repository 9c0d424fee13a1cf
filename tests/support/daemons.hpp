// daemons: what process tests need: a temporary directory, real programs started and killed, facts waited for.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace romancy::test {

// Waits until `fact` holds. The guard is against a hang, not a measurement: generous, and the test fails at it.
bool eventually(const std::function<bool()>& fact, std::chrono::seconds guard = std::chrono::seconds(60));

// A directory of this test, removed at the end (kept when the test failed: its path is printed).
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  // Writes a file in it; returns its path.
  std::string write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

// One program under test. Its stderr goes to a file; killed (and reaped) at the end.
class Daemon {
 public:
  // `program`: a path, or the name of a program of this build. `log`: the file for its output, appended.
  Daemon(const std::string& program, std::vector<std::string> arguments, std::string log,
         std::map<std::string, std::string> environment = {});
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  void kill9();        // and reaps
  int wait();          // the wait status, after it has ended (hang guard: 60 s, then SIGKILL and a failure)
  int terminate();     // SIGTERM, then wait(): the exit code, or -signal
  [[nodiscard]] bool running();
  [[nodiscard]] std::string log() const;                     // all it wrote
  [[nodiscard]] bool logged(const std::string& text) const;  // it wrote this

 private:
  pid_t pid_ = -1;
  int status_ = 0;
  bool reaped_ = false;
  std::string log_;
};

// The path of a program of this build (target names: "romancy-timer", "test_worker").
std::string program_path(const std::string& name);
// True when no process with this pid runs (a zombie counts as ended).
bool process_gone(pid_t pid);

// A PostgreSQL server of this test alone, for tests that stop it. Unix socket only, unless `settings` (lines of
// postgresql.conf) says otherwise: everybody may log in. An unprivileged user when root.
class PrivateCluster {
 public:
  explicit PrivateCluster(const std::string& settings = "");
  ~PrivateCluster();
  PrivateCluster(const PrivateCluster&) = delete;
  PrivateCluster& operator=(const PrivateCluster&) = delete;
  void start();
  void stop(const std::string& mode);  // "fast", "immediate"
  void become_standby();  // of nobody: it restarts and stays in recovery
  void promote();
  [[nodiscard]] std::string conninfo() const;

 private:
  std::string root_;
  bool up_ = false;
};

}  // namespace romancy::test
