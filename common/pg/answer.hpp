// answer: what PostgreSQL says when it says no, as an Error. Internal to common/pg.
#pragma once
#include <optional>
#include <string>

#include "common/base/result.hpp"
#include "common/pg/libpq.hpp"

namespace romancy::pg {

// The error in a result: primary message and detail, the kind by its SQLSTATE.
Error error_of(const PGresult* result);
// The error is FATAL or PANIC: the server ends this connection.
bool is_fatal(const PGresult* result);
// A prepared statement whose tables have changed so that its columns are others: nothing was executed, and
// preparing it again helps.
bool is_outdated_plan(const PGresult* result);

// The last words of libpq about a connection that failed, on one line. The SQLSTATE is there if ask_sqlstate() was
// called before the first PQconnectPoll: libpq 15 has no other way to tell it for a connection that never came up.
void ask_sqlstate(PGconn* conn);
Error connection_error(PGconn* conn);
// Several hosts failed: all their texts, and the kind and code of the last that gave a code, because "away" says less
// than "wrong password".
void add_failure(std::optional<Error>& failures, Error next);

// What the server says unasked goes to the log; a FATAL is also kept, because libpq's own error message says no more
// than "closed unexpectedly". `keep` may be null, else it must outlive the connection.
void take_notices(PGconn* conn, std::optional<Error>* keep);

}  // namespace romancy::pg
