#include "common/pg/sqlstate.hpp"

namespace romancy::pg {

ErrorKind classify(std::string_view sqlstate) {
  if (sqlstate.empty()) return ErrorKind::retry;  // nobody answered
  if (sqlstate == "55P03" || sqlstate == "25006") return ErrorKind::retry;
  const auto of_class = sqlstate.substr(0, 2);
  for (const char* retry : {"08", "40", "53", "57", "58"})
    if (of_class == retry) return ErrorKind::retry;
  for (const char* refuse : {"22", "23", "28", "3D", "54"})
    if (of_class == refuse) return ErrorKind::refuse;
  for (const char* refuse : {"42501", "55000", "P0001", "P0002", "0A000"})
    if (sqlstate == refuse) return ErrorKind::refuse;
  return ErrorKind::bug;
}

bool is_data_error(std::string_view sqlstate) {
  const auto of_class = sqlstate.substr(0, 2);
  return of_class == "22" || of_class == "23" || sqlstate == "54000";
}

}  // namespace romancy::pg
