// settings: from ConnOptions to what PQconnectStartParams takes. Internal to common/pg. Pure.
#pragma once
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/conn.hpp"
#include "common/pg/libpq.hpp"

namespace romancy::pg {

using Keywords = std::vector<std::pair<std::string, std::string>>;

// One host of the connection string, to be tried with a deadline of its own: libpq alone stays for ever with a first
// host that swallows packets.
struct Target {
  Keywords keywords;
  std::string name;  // to be looked up first, because PQconnectStart would block; empty: nothing is to be looked up
  [[nodiscard]] Keywords at(const std::string& address) const;  // the host's name stays, for TLS and the passfile
  [[nodiscard]] std::string said() const;                       // for messages; not with an address of it
};

// What to try, in order. `target_session_attrs` is libpq's to judge, host by host; "prefer-standby" is two rounds.
// Hosts may also come from a service file and from the environment, as with any program of libpq. Refuses a
// connection string that cannot be parsed, without repeating it.
Result<std::vector<Target>> targets(const ConnOptions& options);

// Starts connecting. Null only when out of memory; a failure is in PQstatus.
PgConn start(const Keywords& keywords);

}  // namespace romancy::pg
