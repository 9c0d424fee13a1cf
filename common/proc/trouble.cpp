#include "common/proc/trouble.hpp"

namespace romancy::proc {

std::string_view name_of(Trouble trouble) {
  switch (trouble) {
    case Trouble::none: return "none";
    case Trouble::away: return "away";
    case Trouble::black_hole: return "black_hole";
    case Trouble::hung_backend: return "hung_backend";
    case Trouble::pooler: return "pooler";
    case Trouble::standby: return "standby";
    case Trouble::refused: return "refused";
    case Trouble::count_: break;
  }
  return "?";
}

std::string_view advice(Trouble trouble) {
  switch (trouble) {
    case Trouble::none:
    case Trouble::count_: break;
    case Trouble::away: return "no connection to PostgreSQL, see its log";
    case Trouble::black_hole: return "what it sends is not acknowledged: the network, or the host of PostgreSQL, is gone";
    case Trouble::hung_backend: return "it is not answered: the server process, or a pooler, stands still";
    case Trouble::pooler:
      return "notifications do not come through the pooler: database.url must name the server itself, or a pooler in "
             "session mode with room for two connections of the listener";
    case Trouble::standby: return "the server is a standby: promote it, or name the primary";
    case Trouble::refused: return "PostgreSQL refuses a statement, see its log";
  }
  return {};
}

}  // namespace romancy::proc
