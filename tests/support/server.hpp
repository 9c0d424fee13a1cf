// Server: a PostgreSQL of the test's own, on a Unix socket and on loopback TCP, which may be broken in every way.
//
// The tests' own connections (conninfo()) are the superuser's, over the socket; the suite's (app_conninfo()) those of the
// role `suite`, over TCP: what a row does to that role or to that way does not touch who watches.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace romancy::test {

struct ServerOptions {
  std::vector<std::string> settings{};  // further lines of postgresql.conf
  std::string root{};                   // where it lives; empty: a directory of its own, removed at the end
  std::string before{};                 // words before the command that starts it: "ip netns exec NAME"
  std::string address = "127.0.0.1";    // where it listens
};

// A shell command; throws with the command when it fails. `as_postgres`: as the server's user.
void shell(const std::string& command, bool as_postgres = false);
int try_shell(const std::string& command);  // its exit code; output is dropped
std::string server_programs();              // the directory of initdb and pg_ctl
int free_port();

class Server {
 public:
  explicit Server(ServerOptions options = {});
  // A standby that follows it.
  struct StandbyOf {
    const Server& primary;
  };
  explicit Server(StandbyOf of);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start();
  void stop(const std::string& mode);
  void stop_soon(const std::string& mode);  // asks, and does not wait
  void kill_postmaster();                   // SIGKILL; start() makes another
  void promote();
  void configure(const std::string& line);  // appends to postgresql.conf, and reloads
  void access(const std::string& hba);      // replaces pg_hba.conf, and reloads
  [[nodiscard]] pid_t postmaster() const;
  [[nodiscard]] std::string log() const;

  [[nodiscard]] std::string conninfo() const;      // superuser, Unix socket, database `faults`
  [[nodiscard]] std::string app_conninfo() const;  // role suite, TCP
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  void write_settings(const std::vector<std::string>& more);
  void ctl(const std::string& words);
  std::string root_, before_{}, address_ = "127.0.0.1";
  bool ours_ = true, up_ = false;
  int port_;
};

}  // namespace romancy::test
