// libpq: the two C handles of libpq as types that free them. Internal to common/pg.
#pragma once
#include <libpq-fe.h>

#include <memory>

namespace romancy::pg {

struct Finish {
  void operator()(PGconn* conn) const { PQfinish(conn); }
};
// Whatever watches its socket must be gone before this is: PQfinish closes the descriptor.
using PgConn = std::unique_ptr<PGconn, Finish>;

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using PgResult = std::unique_ptr<PGresult, Clear>;

}  // namespace romancy::pg
