// context: what every command begins with: the configuration, with what the command line puts in its place.
//
// A command returns its exit code. Errors go to stderr as "romancy COMMAND: what was wrong"; stdout carries only what
// was asked for, so that it can be piped.
#pragma once
#include <functional>
#include <string>

#include "common/base/result.hpp"
#include "common/pg/blocking.hpp"
#include "common/proc/config.hpp"

namespace romancy::cli {

struct Globals {
  std::string config_path;  // --config or ROMANCY_CONFIG; empty: the defaults
  std::string database;     // --database: in place of database.url
  std::string schema;       // --schema: in place of database.schema
  std::string runtime_dir;  // --runtime-dir or ROMANCY_RUNTIME_DIR: where the supervisor is; the file is not read for it
};

// Prints "romancy COMMAND: text" and returns `exit_code`.
int fail(const std::string& command, int exit_code, const std::string& text);

// The configuration, or (printed) the exit code.
Result<proc::Config> configuration(const Globals& globals);

// Where the supervisor is. A file in which something else is wrong is no reason not to reach it: the supervisor runs on
// with what it accepted last, and is what helps. `trouble`: what is wrong with the file; empty: nothing.
struct Address {
  std::string runtime_dir, trouble;
};
Result<Address> supervisor_address(const Globals& globals);

// Runs `work` with a connection to a schema that this program may use; prints what goes wrong, returns the exit code.
// `work` returns an exit code or an error of a statement: away is 75, refused is 1.
int with_database(const std::string& command, const Globals& globals,
                  const std::function<Result<int>(pg::Blocking& db, const proc::Config& config)>& work);

// The same without the look at the schema, for migrate: refused is 78, because the supervisor runs it.
int with_server(const std::string& command, const Globals& globals,
                const std::function<Result<int>(pg::Blocking& db, const proc::Config& config)>& work);

}  // namespace romancy::cli
