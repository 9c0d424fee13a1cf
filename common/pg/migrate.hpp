// migrate: brings a schema to the version of this program, and tells other programs whether they may use one.
//
// A schema has a version (the number of the last file of sql/migrations applied to it) and says which programs may use
// it: those that know at least version `oldest_program`. A program knows the migrations it was built with.
//
//   migrate()       one transaction under an advisory lock: makes the schema, applies the missing migrations, and makes
//                   the functions, views and grants anew if their texts changed. Run by several at once, one does it
//                   and the others find it done. A schema newer than this program is left alone, or refused if it is
//                   not made for programs this old.
//   judge_schema()  what the answer to sql::all::schema_version means: for daemons, which ask on their own connection.
//   check_schema()  the same on a blocking connection.
//
// Refusals (a daemon exits 78 on them): there is no schema, it is too old ("run romancy migrate"), it is too new.
// Promise: a failure leaves the database as it was. What a migration locks and for how long is said in its file.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/blocking.hpp"
#include "common/pg/rows.hpp"

namespace romancy::pg {

// The version of the last migration in this program.
int program_schema_version();

struct MigrateReport {
  int from = 0;                            // the version found; 0: there was no schema
  int to = 0;                              // the version now
  std::vector<std::string> applied;        // "0001_tables"
  bool code_made = false;                  // functions, views and grants were made anew
  std::vector<std::string> missing_roles;  // roles that do not exist and could not be made: an admin must
};

// Refuses a name that is not [a-z_][a-z0-9_]* or longer than 44 bytes: "<schema>_workflow_resumable" must be a name.
Result<void> check_schema_name(std::string_view schema);

Result<MigrateReport> migrate(Blocking& conn, std::string_view schema);

Result<void> judge_schema(const Result<Rows>& answer);
Result<void> check_schema(Blocking& conn, std::string_view schema);

}  // namespace romancy::pg
