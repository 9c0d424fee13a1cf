#include "tests/process/supervisor_stage.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/base/unique_fd.hpp"

namespace romancy::test {
namespace {

UniqueFd connected(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

}  // namespace

Stage::Stage(const std::string& supervisor_keys, const std::string& more, bool listener) : program_(SUPERVISOR) {
  std::filesystem::create_directory(path("bin"));
  for (const char* name : {"romancy-listener", "romancy-timer", "romancy-relay", "romancy"}) {
    std::filesystem::create_symlink(SUPERVISOR_CHILD, path(std::string("bin/") + name));
  }
  configure(supervisor_keys, more, listener);
}

void Stage::configure(const std::string& supervisor_keys, const std::string& more, bool listener, int processes) const {
  const std::string heard = listener ? "\"auto\"" : "false";
  dir_.write("romancy.toml", "[runtime]\ndir = \"" + path("run") + "\"\n" +
                                 "[listener]\nenabled = " + heard + "\n" +
                                 "[supervisor]\nbin_dir = \"" + path("bin") + "\"\n" + supervisor_keys + "\n" +
                                 "[[resumer]]\nname = \"orders\"\nprocesses = " + std::to_string(processes) + "\n" +
                                 "command = [\"" SUPERVISOR_CHILD "\"]\n" + more);
}

void Stage::does(const std::string& component, const std::string& behaviour) const {
  dir_.write(component + ".does", behaviour + "\n");
}

std::string Stage::own_program() {
  program_ = path("bin/romancy-supervisor");
  std::filesystem::copy_file(SUPERVISOR, program_);
  return program_;
}

void Stage::start_unanswered(std::map<std::string, std::string> environment) {
  environment.insert({{"ROMANCY_TEST_DIR", dir_.path()}, {"NOTIFY_SOCKET", path("notify")}});
  supervisor_ = std::make_unique<Daemon>(program_, std::vector<std::string>{"--config", config()}, path("log"), environment);
}

void Stage::start(std::map<std::string, std::string> environment) {
  start_unanswered(std::move(environment));
  ASSERT_TRUE(eventually([&] { return ask({{"command", "status"}}).contains("supervisor"); })) << supervisor_->log();
}

std::string Stage::raw(const std::string& line) const {
  const UniqueFd fd = connected(path("run/control.sock"));
  if (!fd) return "";
  const std::string request = line + "\n";
  std::string answer;
  static_cast<void>(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL));  // refused already: it said why
  char buffer[4096];
  while (answer.find('\n') == std::string::npos) {
    const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (got <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  return answer;
}

Json Stage::ask(const Json& request) const {
  const Json answer = Json::parse(raw(request.dump()), nullptr, false);
  return answer.is_object() ? answer : Json::object();
}

Json Stage::component(const std::string& name) const {
  const Json status = ask({{"command", "status"}});
  for (const auto& one : status.value("components", Json::array())) {
    if (one["name"] == name) return one;
  }
  return {{"state", "absent"}, {"pid", 0}, {"restarts", 0}, {"why", ""}, {"last_exit", nullptr}};
}

bool Stage::is(const std::string& name, const std::string& state) const { return component(name)["state"] == state; }

bool Stage::all_ready() const {
  const Json status = ask({{"command", "status"}});
  if (!status.contains("components")) return false;
  return std::all_of(status["components"].begin(), status["components"].end(),
                     [](const Json& one) { return one["state"] == "ready"; });
}

std::vector<std::string> Stage::events() const {
  std::vector<std::string> lines;
  std::ifstream file(path("events"));
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

int Stage::seen(const std::string& event) const {
  const auto lines = events();
  const auto matches = [&](const std::string& line) { return line.starts_with(event); };
  return static_cast<int>(std::count_if(lines.begin(), lines.end(), matches));
}

int Stage::place(const std::string& event) const {
  const auto lines = events();
  for (auto n = static_cast<int>(lines.size()) - 1; n >= 0; --n) {
    if (lines[static_cast<std::size_t>(n)].starts_with(event)) return n;
  }
  return -1;
}

std::vector<pid_t> Stage::pids() const {
  std::vector<pid_t> pids;
  for (const auto& line : events()) {
    for (const char* word : {" ready ", " child "}) {
      if (const auto at = line.find(word); at != std::string::npos) pids.push_back(std::stoi(line.substr(at + 7)));
    }
  }
  return pids;
}

}  // namespace romancy::test
