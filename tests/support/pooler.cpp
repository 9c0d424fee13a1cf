#include "tests/support/pooler.hpp"

#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

namespace romancy::test {
namespace {

constexpr const char* kProgram = "/usr/sbin/pgbouncer";
constexpr const char* kPort = "6432";  // the name of the socket, no more

int times(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

std::string Pooler::why_not() { return ::access(kProgram, X_OK) == 0 ? "" : std::string("there is no ") + kProgram; }

Pooler::Pooler(const std::string& server, const std::string& mode) : server_(server) {
  write(mode);
  std::vector<std::string> command{kProgram, dir_.path() + "/pgbouncer.ini"};
  if (::getuid() == 0) {
    const passwd* user = ::getpwnam("postgres");  // NOLINT(concurrency-mt-unsafe): one thread
    if (!user || ::chown(dir_.path().c_str(), user->pw_uid, user->pw_gid) != 0) throw std::runtime_error("no user postgres");
    const std::vector<std::string> as{"/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "KILL"};
    command.insert(command.begin(), as.begin(), as.end());
  }
  const std::string program = command.front();
  command.erase(command.begin());
  program_ = std::make_unique<Daemon>(program, command, dir_.path() + "/out");
  EXPECT_TRUE(eventually([&] { return ::access((dir_.path() + "/.s.PGSQL." + kPort).c_str(), F_OK) == 0; })) << log();
}

void Pooler::write(const std::string& mode) const {
  dir_.write("pgbouncer.ini", "[databases]\npooled = " + server_ + "\n[pgbouncer]\nlisten_addr =\nlisten_port = " + kPort +
                                  "\nunix_socket_dir = " + dir_.path() + "\nauth_type = any\npool_mode = " + mode +
                                  // What it does not know it must not refuse.
                                  "\nignore_startup_parameters = options,extra_float_digits,search_path\n");
}

std::string Pooler::conninfo() const { return "host=" + dir_.path() + " port=" + kPort + " user=test dbname=pooled"; }

void Pooler::mode(const std::string& mode) {
  const int before = times(log(), "got SIGHUP");
  write(mode);
  program_->signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return times(log(), "got SIGHUP") > before; })) << log();
}

int Pooler::logins() const { return times(log(), "login attempt"); }

std::string Pooler::log() const { return program_->log(); }

}  // namespace romancy::test
