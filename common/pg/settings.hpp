// settings: from ConnOptions to what PQconnectStartParams takes. Internal to common/pg. Pure.
#pragma once
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/conn.hpp"
#include "common/pg/libpq.hpp"

namespace romancy::pg {

using Keywords = std::vector<std::pair<std::string, std::string>>;

// One set of keywords for each host of the connection string, to be tried in order, each with its own deadline:
// libpq alone stays for ever with a first host that swallows packets. Refuses a connection string that cannot be
// parsed, without repeating it.
Result<std::vector<Keywords>> attempts(const ConnOptions& options);

// Starts connecting. Null only when out of memory; a failure is in PQstatus.
PgConn start(const Keywords& keywords);

}  // namespace romancy::pg
