// Control: the socket an operator talks to: one JSON object a line, one answer a line.
//
//   {"command":"status"}
//   {"command":"restart","component":"timer"}   or a resumer's name for all of its processes, or "all"
//   {"command":"start","component":".."}   {"command":"stop","component":".."}   {"command":"stop"}: everything
//   {"command":"drain","component":".."}: as stop, but without a limit
//   {"command":"log-level","component":"..","level":"debug"}   component "supervisor": the supervisor itself
//   {"command":"reload"}   {"command":"upgrade"}: answered when it is known whether they may begin
//   answers: {"ok":true, ..} or {"ok":false,"error":".."}, in the order of the requests, unless one takes its time
//
// Promise: only root and the supervisor's own user are answered (SO_PEERCRED); whatever else comes is refused with an
//          error, and changes nothing. Requests are at most 64 kB, connections at most 32.
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "common/base/json.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/loop.hpp"

namespace romancy::supervisor {

class Control {
 public:
  struct Request {
    std::string command, component, level;
  };
  using Reply = std::function<void(Json)>;  // to be called once, soon or late; nothing happens when the asker is gone
  using Answer = std::function<void(const Request& request, Reply reply)>;
  Control(io::Loop& loop, UniqueFd listening, Answer answer);

  static Json refused(const std::string& error);

 private:
  void accept(UniqueFd connected, const io::Peer& peer);
  void ask(std::string_view line, const Reply& reply) const;
  void reply(int connection, const Json& answer);

  io::Loop& loop_;
  Answer answer_;
  std::map<int, std::unique_ptr<io::LineStream>> connections_;
  int next_ = 0;
  io::UnixServer server_;
};

}  // namespace romancy::supervisor
