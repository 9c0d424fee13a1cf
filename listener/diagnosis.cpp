#include "listener/diagnosis.hpp"

namespace romancy::listener {
namespace {

std::string_view subject(Awaited awaited) {
  switch (awaited) {
    case Awaited::listen: return "LISTEN";
    case Awaited::look: return "the heartbeat";
    case Awaited::notify:
    case Awaited::echo: return "NOTIFY";
    case Awaited::outside:
    case Awaited::outside_echo: return "NOTIFY on a second connection";
  }
  return "?";
}

}  // namespace

Trouble overdue(Awaited awaited, bool acknowledged) {
  if (awaited == Awaited::echo || awaited == Awaited::outside || awaited == Awaited::outside_echo) return Trouble::pooler;
  return acknowledged ? Trouble::hung_backend : Trouble::black_hole;
}

Trouble look(bool in_recovery, std::int64_t channels, std::int64_t wanted) {
  if (in_recovery) return Trouble::standby;
  return channels < wanted ? Trouble::pooler : Trouble::none;
}

bool relayed(std::int64_t begun_with, std::int64_t answered_by) { return begun_with != answered_by; }

Trouble refusal(std::string_view sqlstate) { return sqlstate == "25006" ? Trouble::standby : Trouble::refused; }

std::string explain(Trouble trouble, Awaited awaited, std::string_view within) {
  const std::string said(subject(awaited));
  const std::string time(within);
  switch (trouble) {
    case Trouble::none:
    case Trouble::away:
    case Trouble::refused:
    case Trouble::count_: return {};
    case Trouble::black_hole:
      return said + " was not answered within " + time +
             ", and what we sent is not acknowledged: the network or the host is gone";
    case Trouble::hung_backend:
      return said + " was not answered within " + time + ", though it was taken: the server process hangs";
    case Trouble::pooler:
      if (awaited == Awaited::echo) {
        return "our notification to ourselves did not come back within " + time +
               " (a pooler between us and the server must be in session mode)";
      }
      if (awaited == Awaited::outside_echo) {
        return "what was notified on a second connection did not come here within " + time +
               " (the pooler between us and the server must be in session mode)";
      }
      if (awaited == Awaited::outside) {
        return said + " was not answered within " + time +
               " (the pooler between us and the server needs room for two connections of ours)";
      }
      return "the server does not know that we listen: pg_listening_channels() is empty (a pooler between us and the "
             "server must be in session mode)";
    case Trouble::standby: return "the server is a standby: it cannot LISTEN or NOTIFY";
  }
  return {};
}

}  // namespace romancy::listener
