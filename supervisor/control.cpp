#include "supervisor/control.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.hpp"

namespace romancy::supervisor {
namespace {

constexpr std::size_t kConnections = 32;
constexpr JsonCaps kCaps{.bytes = 64u << 10, .depth = 8};

// The text of an optional member; an error when it is there and not a text.
Result<std::string> text_member(const Json& request, const char* name) {
  const auto member = request.find(name);
  if (member == request.end()) return std::string();
  if (!member->is_string()) return refuse(std::string(name) + ": must be a text");
  return member->get<std::string>();
}

}  // namespace

Control::Control(io::Loop& loop, UniqueFd listening, Answer answer)
    : loop_(loop), answer_(std::move(answer)), server_(loop, std::move(listening), [this](UniqueFd fd, io::Peer peer) {
        accept(std::move(fd), peer);
      }) {}

Json Control::refused(const std::string& error) { return {{"ok", false}, {"error", error}}; }

void Control::accept(UniqueFd connected, const io::Peer& peer) {
  const bool known = peer.uid == 0 || peer.uid == ::geteuid();
  if (!known || connections_.size() >= kConnections) {
    const std::string user = "user " + std::to_string(peer.uid);
    const std::string why = known ? "too many connections" : user + " has no right to ask";
    log::warn("control connection refused", {{"uid", peer.uid}, {"pid", peer.pid}, {"why", why}});
    const std::string line = dump_json(refused(why)) + "\n";
    // A fresh socket's buffer is empty, so this goes whole or not at all; the hang-up says enough.
    static_cast<void>(::send(connected.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    return;
  }
  const int id = next_++;
  io::LineStream::Handlers handlers;
  handlers.on_line = [this, id](std::string_view line) {
    ask(line, [this, id](const Json& answer) { reply(id, answer); });
  };
  handlers.on_close = [this, id](std::string_view) { connections_.erase(id); };
  connections_[id] = std::make_unique<io::LineStream>(
      loop_, std::move(connected), io::LineCaps{.max_line = kCaps.bytes, .max_queue = 1u << 20}, std::move(handlers));
}

void Control::ask(std::string_view line, const Reply& reply) const {
  const auto request = parse_json(line, "request", kCaps);
  if (!request) return reply(refused(request.error().text));
  if (!request->is_object()) return reply(refused("request: must be an object"));
  const auto command = text_member(*request, "command");
  if (!command) return reply(refused(command.error().text));
  const auto component = text_member(*request, "component");
  if (!component) return reply(refused(component.error().text));
  const auto level = text_member(*request, "level");
  if (!level) return reply(refused(level.error().text));
  answer_({*command, *component, *level}, reply);
}

void Control::reply(int connection, const Json& answer) {
  const auto asker = connections_.find(connection);
  if (asker == connections_.end()) return;
  if (!asker->second->send(dump_json(answer))) asker->second->close();  // asks faster than it reads
}

}  // namespace romancy::supervisor
