#include "tests/support/server.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "common/base/unique_fd.hpp"
#include "tests/support/daemons.hpp"

namespace romancy::test {
namespace fs = std::filesystem;

namespace {

std::string own_directory() {
  std::string name = (fs::temp_directory_path() / "romancy-faults-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  return name;
}

}  // namespace

void shell(const std::string& command, bool as_postgres) {
  const std::string whole = as_postgres && ::getuid() == 0 ? "cd / && runuser -u postgres -- " + command : command;
  const int status = std::system(whole.c_str());
  if (status != 0) throw std::runtime_error("failed: " + whole);
}

int try_shell(const std::string& command) {
  const int status = std::system(("(" + command + ") >/dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string server_programs() {
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql")) {
    if (fs::exists(entry.path() / "bin/initdb")) return (entry.path() / "bin").string();
  }
  throw std::runtime_error("no PostgreSQL server programs");
}

int free_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  return ntohs(address.sin_port);
}

Server::Server(ServerOptions options) 
    : root_(options.root.empty() ? own_directory() : options.root),
      before_(options.before),
      address_(options.address),
      ours_(options.root.empty()),
      port_(free_port()) {
  if (::getuid() == 0) shell("chown postgres: " + root_);
  fs::permissions(root_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  shell(server_programs() + "/initdb -D " + root_ + "/data -A trust -U postgres --no-sync -E UTF8 --locale=C >/dev/null", true);
  write_settings(options.settings);
  if (address_ != "127.0.0.1") shell("sh -c \"echo 'host all all " + address_ + "/24 trust' >> " + root_ + "/data/pg_hba.conf\"", true);
  start();
  const std::string psql = "psql -qX -h " + root_ + " -p " + std::to_string(port_) + " -U postgres ";
  shell(psql + "-d postgres -c 'CREATE ROLE suite LOGIN CREATEROLE' -c 'CREATE DATABASE faults OWNER suite'");
}

Server::Server(StandbyOf of) : root_(own_directory()), port_(free_port()) {
  if (::getuid() == 0) shell("chown postgres: " + root_);
  fs::permissions(root_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  shell(server_programs() + "/pg_basebackup -h " + of.primary.root_ + " -p " + std::to_string(of.primary.port_) +
            " -U postgres -D " + root_ + "/data -R -c fast --no-sync",
        true);
  write_settings({});
  start();
}

Server::~Server() {
  if (up_) try_shell("runuser -u postgres -- " + server_programs() + "/pg_ctl -D " + root_ + "/data -m immediate -w stop");
  if (!ours_) return;
  if (testing::Test::HasFailure()) {
    std::fprintf(stderr, "kept: %s\n", root_.c_str());
    return;
  }
  std::error_code ignored;  // a leftover in the temporary directory is not worth a failure
  fs::remove_all(root_, ignored);
}

void Server::write_settings(const std::vector<std::string>& more) {
  std::ofstream file(root_ + "/extra.conf");
  // The machine does not lose power, so nothing is flushed; commits are as synchronous as ever.
  file << "listen_addresses = '" << address_ << "'\nport = " << port_ << "\nunix_socket_directories = '" << root_
       << "'\nmax_connections = 100\nfsync = off\nfull_page_writes = off\nshared_buffers = 32MB\nwal_level = replica\n"
          "max_wal_senders = 4\nlog_line_prefix = '%m [%p] %a %e '\n";
  for (const auto& line : more) file << line << "\n";
  file.close();
  shell("sh -c \"cat " + root_ + "/extra.conf >> " + root_ + "/data/postgresql.conf\"", true);
}

void Server::ctl(const std::string& words) {
  shell(server_programs() + "/pg_ctl -D " + root_ + "/data -l " + root_ + "/data/server.log " + words + " >/dev/null 2>&1", true);
}

void Server::start() {
  // After a crash, children that still run hold the shared memory for a moment.
  if (!eventually([&] { return try_shell(before_ + (::getuid() == 0 ? " runuser -u postgres -- " : " ") + server_programs() + "/pg_ctl -D " + root_ + "/data -l " + root_ + "/data/server.log -w -t 60 start") == 0; })) throw std::runtime_error("no server in " + root_);
  up_ = true;
}
void Server::stop(const std::string& mode) {
  ctl("-w -m " + mode + " stop");
  up_ = false;
}
void Server::stop_soon(const std::string& mode) { ctl("-W -m " + mode + " stop"); }

void Server::kill_postmaster() {
  const pid_t pid = postmaster();
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(eventually([&] { return process_gone(pid); }));
  // Its children notice by themselves: start() waits for those that still hold the shared memory.
  up_ = false;
}

void Server::promote() { ctl("-w promote"); }

void Server::configure(const std::string& line) {
  std::ofstream(root_ + "/data/postgresql.conf", std::ios::app) << line << "\n";
  ctl("reload");
}

void Server::access(const std::string& hba) {
  std::ofstream(root_ + "/data/pg_hba.conf") << hba;
  ctl("reload");
}

pid_t Server::postmaster() const {
  std::ifstream file(root_ + "/data/postmaster.pid");
  pid_t pid = 0;
  file >> pid;
  if (pid <= 0) throw std::runtime_error("no postmaster in " + root_);
  return pid;
}

std::string Server::log() const {
  std::ifstream file(root_ + "/data/server.log");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Server::conninfo() const {
  return "host=" + root_ + " port=" + std::to_string(port_) + " user=postgres dbname=faults";
}
std::string Server::app_conninfo() const {
  return "host=" + address_ + " port=" + std::to_string(port_) + " user=suite dbname=faults";
}

}  // namespace romancy::test
