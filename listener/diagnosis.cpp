#include "listener/diagnosis.hpp"

namespace romancy::listener {
namespace {

std::string_view subject(Awaited awaited) {
  switch (awaited) {
    case Awaited::listen: return "LISTEN";
    case Awaited::look: return "the heartbeat";
    case Awaited::notify: return "NOTIFY";
    case Awaited::echo: return "NOTIFY";
  }
  return "?";
}

}  // namespace

std::string_view name_of(Trouble trouble) {
  switch (trouble) {
    case Trouble::none: return "none";
    case Trouble::away: return "away";
    case Trouble::black_hole: return "black_hole";
    case Trouble::hung_backend: return "hung_backend";
    case Trouble::pooler: return "pooler";
    case Trouble::standby: return "standby";
    case Trouble::refused: return "refused";
  }
  return "?";
}

Trouble overdue(Awaited awaited, bool acknowledged) {
  if (awaited == Awaited::echo) return Trouble::pooler;
  return acknowledged ? Trouble::hung_backend : Trouble::black_hole;
}

Trouble look(bool in_recovery, std::int64_t channels, std::int64_t wanted) {
  if (in_recovery) return Trouble::standby;
  return channels < wanted ? Trouble::pooler : Trouble::none;
}

Trouble refusal(std::string_view sqlstate) { return sqlstate == "25006" ? Trouble::standby : Trouble::refused; }

std::string explain(Trouble trouble, Awaited awaited, std::string_view within) {
  const std::string said(subject(awaited));
  const std::string time(within);
  switch (trouble) {
    case Trouble::none:
    case Trouble::away:
    case Trouble::refused: return {};
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
      return "the server does not know that we listen: pg_listening_channels() is empty (a pooler between us and the "
             "server must be in session mode)";
    case Trouble::standby: return "the server is a standby: it cannot LISTEN or NOTIFY";
  }
  return {};
}

}  // namespace romancy::listener
