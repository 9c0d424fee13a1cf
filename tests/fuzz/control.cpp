// The supervisor's control socket, with a real peer at the other end: whatever it says is answered, one line for one line, or
// it is hung up on; commands that were not understood reach nobody.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "common/base/json.hpp"
#include "common/io/alarm.hpp"
#include "supervisor/control.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace romancy;
using fuzz::require;

namespace {

struct Place {
  Place() {
    std::string name = "/tmp/romancy-fuzz-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr, "mkdtemp");
    dir = name;
    auto listening = io::listen_unix(path());
    require(listening.has_value(), "listen");
    using supervisor::Control;
    const auto answer = [](const Control::Request& request, const Control::Reply& reply) {
      for (const auto& word : {request.command, request.component, request.level}) {
        require(word.size() <= 64u << 10, "requests have a limit");
      }
      reply(Json{{"ok", true}});
    };
    control = std::make_unique<Control>(loop, std::move(*listening), answer);
  }
  ~Place() {
    ::unlink(path().c_str());
    ::rmdir(dir.c_str());
  }
  [[nodiscard]] std::string path() const { return dir + "/control.sock"; }
  io::Loop loop;
  std::string dir;
  std::unique_ptr<supervisor::Control> control;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Place place;
  std::string said(fuzz::text(data, size));
  said += '\n';
  auto peer = io::connect_unix(place.path());
  require(peer.has_value(), "connect");
  // More than a socket takes at once is cut: a peer may hang up anywhere.
  const ssize_t sent = ::send(peer->get(), said.data(), said.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  require(sent > 0, "send");
  ::shutdown(peer->get(), SHUT_WR);

  std::string answers;
  bool over = false;
  io::Alarm look(place.loop, [&] {});
  const std::function<void()> read = [&] {
    std::array<char, 65536> buffer;
    ssize_t got = 0;
    while ((got = ::recv(peer->get(), buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) answers.append(buffer.data(), static_cast<std::size_t>(got));
    over = got == 0;
    if (over) place.loop.stop();
    else place.loop.post(read);
  };
  place.loop.post(read);
  place.loop.run();
  require(over, "the connection ends");
  while (!answers.empty()) {
    const auto end = answers.find('\n');
    require(end != std::string::npos, "answers are whole lines");
    const auto answer = parse_json(std::string_view(answers).substr(0, end), "answer");
    require(answer && answer->is_object() && answer->contains("ok"), "an answer says whether it went well");
    answers.erase(0, end + 1);
  }
  return 0;
}
