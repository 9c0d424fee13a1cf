#include "tests/support/daemons.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/base/errno_text.hpp"

namespace romancy::test {
namespace fs = std::filesystem;
using namespace std::chrono_literals;

bool eventually(const std::function<bool()>& fact, std::chrono::seconds guard) {
  const auto end = std::chrono::steady_clock::now() + guard;
  while (!fact()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
    ::usleep(5000);  // between two looks at a fact, not instead of one
  }
  return true;
}

TempDir::TempDir() {
  std::string name = (fs::temp_directory_path() / "romancy-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
  fs::permissions(path_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
}

TempDir::~TempDir() {
  if (testing::Test::HasFailure()) {
    std::fprintf(stderr, "kept: %s\n", path_.c_str());
    return;
  }
  std::error_code ignored;  // a leftover in the temporary directory is not worth a failure
  fs::remove_all(path_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& text) const {
  const std::string file = path_ + "/" + name;
  std::ofstream(file) << text;
  return file;
}

std::string program_path(const std::string& name) {
  if (name.starts_with("/")) return name;
  const fs::path build = ROMANCY_BUILD_DIR;
  if (fs::exists(build / "bin" / name)) return (build / "bin" / name).string();
  ADD_FAILURE() << "no program " << name << " below " << build;
  return name;
}

bool process_gone(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(stat, text)) return true;
  const auto after = text.rfind(')');
  return after != std::string::npos && after + 2 < text.size() && text[after + 2] == 'Z';
}

Daemon::Daemon(const std::string& program, std::vector<std::string> arguments, std::string log,
               std::map<std::string, std::string> environment)
    : log_(std::move(log)) {
  const std::string path = program_path(program);
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t test = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    // A test that is killed must not leave programs behind. (A parent that died before this line sends nothing.)
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != test) ::_exit(127);
    ::dup2(out, 1);
    ::dup2(out, 2);
    for (const auto& [key, value] : environment) ::setenv(key.c_str(), value.c_str(), 1);
    ::execv(path.c_str(), argv.data());
    ::_exit(127);
  }
  ::close(out);
}

Daemon::~Daemon() {
  if (!reaped_) kill9();
}

void Daemon::signal(int number) const {
  if (!reaped_ && ::kill(pid_, number) != 0) ADD_FAILURE() << "kill " << pid_ << ": " << errno_text(errno);
}

void Daemon::kill9() {
  if (reaped_) return;
  signal(SIGKILL);
  ::waitpid(pid_, &status_, 0);
  reaped_ = true;
}

bool Daemon::running() {
  if (!reaped_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
  return !reaped_;
}

int Daemon::wait() {
  if (!eventually([this] { return !running(); })) {
    ADD_FAILURE() << "process " << pid_ << " does not end; its log:\n" << log();
    kill9();
  }
  return status_;
}

int Daemon::terminate() {
  if (running()) signal(SIGTERM);
  const int status = wait();
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string Daemon::log() const {
  std::ifstream file(log_);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Daemon::logged(const std::string& text) const { return log().find(text) != std::string::npos; }

namespace {

std::string bin_dir() {
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql")) {
    if (fs::exists(entry.path() / "bin/initdb")) return (entry.path() / "bin").string();
  }
  throw std::runtime_error("no PostgreSQL server programs");
}

void run(const std::string& command) {
  const std::string as = ::getuid() == 0 ? "runuser -u postgres -- " : "";
  const int status = std::system((as + command).c_str());
  if (status != 0) throw std::runtime_error("failed: " + command);
}

}  // namespace

PrivateCluster::PrivateCluster(const std::string& settings) {
  std::string name = (fs::temp_directory_path() / "romancy-pg-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  root_ = name;
  if (::getuid() == 0 && std::system(("chown postgres: " + root_).c_str()) != 0) throw std::runtime_error("chown failed");
  fs::permissions(root_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  run(bin_dir() + "/initdb -D " + root_ + "/data -A trust -U postgres --no-sync -E UTF8 --locale=C >" + "/dev/null");
  std::ofstream(root_ + "/extra.conf") << "listen_addresses = ''\nunix_socket_directories = '" << root_
                                       << "'\nmax_connections = 100\n"
                                       << settings << "\n";
  run("sh -c \"cat " + root_ + "/extra.conf >> " + root_ + "/data/postgresql.conf\"");
  run("sh -c \"echo host all all all trust >> " + root_ + "/data/pg_hba.conf\"");
  start();
}

PrivateCluster::~PrivateCluster() {
  if (up_) stop("immediate");
  std::error_code ignored;  // a leftover in the temporary directory is not worth a failure
  fs::remove_all(root_, ignored);
}

void PrivateCluster::start() {
  run(bin_dir() + "/pg_ctl -D " + root_ + "/data -w -l " + root_ + "/log start >/dev/null");
  up_ = true;
}

void PrivateCluster::stop(const std::string& mode) {
  run(bin_dir() + "/pg_ctl -D " + root_ + "/data -w -m " + mode + " stop >/dev/null");
  up_ = false;
}

void PrivateCluster::become_standby() {
  stop("fast");
  run("sh -c \"touch " + root_ + "/data/standby.signal\"");
  start();
}

void PrivateCluster::promote() { run(bin_dir() + "/pg_ctl -D " + root_ + "/data -w promote >/dev/null"); }

std::string PrivateCluster::conninfo() const { return "host=" + root_ + " user=postgres dbname=postgres"; }

}  // namespace romancy::test
