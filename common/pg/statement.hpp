// Statement: one SQL text under a name. Made at build time from sql/queries/<process>/<name>.sql (cmake/EmbedSql).
#pragma once

namespace romancy::pg {

struct Statement {
  const char* name;  // unique in the program: prepared statements are known by it
  const char* text;  // unqualified names: the connection's search_path is the schema
};

}  // namespace romancy::pg
