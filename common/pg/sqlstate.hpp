// sqlstate: what kind of failure a five-character SQLSTATE is. Source: PostgreSQL manual, appendix A.
#pragma once
#include <string_view>

#include "common/base/result.hpp"

namespace romancy::pg {

// retry:  connection (08), serialization and deadlock (40), resources (53), operator intervention (57), the server's
//         disk (58), lock (55P03), read-only standby (25006), no code at all (connection lost);
// refuse: data, constraint and size errors (22, 23, 54), privileges and log-in (42501, 28), no such database (3D),
//         what our functions raise (P0001, P0002) and 0A000;
// bug:    everything else: the SQL is ours.
ErrorKind classify(std::string_view sqlstate);
// The error was caused by the data of one row of a batch (22, 23, 54000): bisecting finds the culprit.
bool is_data_error(std::string_view sqlstate);

}  // namespace romancy::pg
