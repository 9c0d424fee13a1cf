#include "cli/context.hpp"

#include <cstdio>
#include <utility>

#include "cli/exit_codes.hpp"
#include "common/pg/migrate.hpp"

namespace romancy::cli {
namespace {

int exit_code_of(const Error& error, int refused) {
  switch (error.kind) {
    case ErrorKind::retry: return kExitDatabase;
    case ErrorKind::refuse: return refused;
    case ErrorKind::bug: return kExitBug;
  }
  return kExitBug;
}

Result<pg::Blocking> connect(const proc::Config& config) {
  pg::ConnOptions options;
  options.conninfo = config.conninfo;
  options.application_name = "romancy";
  options.schema = config.schema;
  options.connect_timeout = config.connect_timeout;
  return pg::Blocking::connect(options);
}

using Work = std::function<Result<int>(pg::Blocking& db, const proc::Config& config)>;

int run(const std::string& command, const Globals& globals, bool check, int refused, const Work& work) {
  const auto config = configuration(globals);
  if (!config) return fail(command, kExitConfig, config.error().text);
  auto db = connect(*config);
  if (!db) return fail(command, exit_code_of(db.error(), kExitConfig), "database: " + db.error().text);
  if (check) {
    if (const auto fits = pg::check_schema(*db, config->schema); !fits) {
      return fail(command, exit_code_of(fits.error(), kExitConfig), fits.error().text);
    }
  }
  const auto done = work(*db, *config);
  return done ? *done : fail(command, exit_code_of(done.error(), refused), done.error().text);
}

}  // namespace

int fail(const std::string& command, int exit_code, const std::string& text) {
  std::fprintf(stderr, "romancy %s: %s\n", command.c_str(), text.c_str());
  return exit_code;
}

Result<proc::Config> configuration(const Globals& globals) {
  auto config = globals.config_path.empty() ? Result<proc::Config>(proc::default_config())
                                            : proc::load_config(globals.config_path);
  if (!config) return config;
  if (!globals.database.empty()) config->conninfo = globals.database;
  if (!globals.schema.empty()) {
    if (auto fits = pg::check_schema_name(globals.schema); !fits) {
      return tl::unexpected(std::move(fits.error()).within("--schema"));
    }
    config->schema = globals.schema;
  }
  return config;
}

Result<Address> supervisor_address(const Globals& globals) {
  if (!globals.runtime_dir.empty()) return Address{globals.runtime_dir, ""};
  if (globals.config_path.empty()) return Address{proc::default_config().runtime_dir, ""};
  const auto text = proc::read_config(globals.config_path);
  if (!text) {
    return refuse(text.error().text + "; --runtime-dir says where the supervisor is without a configuration");
  }
  const auto config = proc::parse_config(*text, globals.config_path);
  if (config) return Address{config->runtime_dir, ""};
  auto runtime_dir = proc::runtime_dir_of(*text, globals.config_path);
  if (!runtime_dir) {
    return refuse(runtime_dir.error().text + "; --runtime-dir says where the supervisor is without a configuration");
  }
  return Address{std::move(*runtime_dir), config.error().text};
}

int with_database(const std::string& command, const Globals& globals, const Work& work) {
  return run(command, globals, true, kExitRefused, work);
}

int with_server(const std::string& command, const Globals& globals, const Work& work) {
  return run(command, globals, false, kExitConfig, work);
}

}  // namespace romancy::cli
