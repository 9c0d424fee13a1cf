#include "common/pg/migrate.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "sql/schema.hpp"

namespace romancy::pg {
namespace {

constexpr std::size_t kLongestSchemaName = 44;  // PostgreSQL cuts names at 63 bytes; our longest suffix has 19
constexpr int kOldestServer = 140000;

std::string_view file_of(const sql::schema::Text& text) {
  const std::string_view name = text.name;  // "migrations/0001_tables"
  return name.substr(name.find('/') + 1);
}

int version_of(const sql::schema::Text& text) {
  const std::string_view file = file_of(text);
  int version = 0;
  std::from_chars(file.data(), file.data() + file.size(), version);
  return version;
}

struct Found {
  int version = 0;
  int oldest_program = 0;
  std::string code_digest;
};

Result<Found> find_version(Blocking& conn) {
  auto table = conn.query("SELECT to_regclass('schema_version') IS NOT NULL");
  if (!table) return tl::unexpected(table.error());
  if (!table->boolean(0, 0)) return Found{};
  auto rows = conn.query(
      "SELECT version, oldest_program, coalesce(code_digest, '') FROM schema_version ORDER BY version DESC LIMIT 1");
  if (!rows) return tl::unexpected(rows.error());
  if (rows->empty()) return Found{};
  return Found{rows->int32(0, 0), rows->int32(0, 1), rows->str(0, 2)};
}

std::string too_new(int version, int oldest_program) {
  return "the schema is at version " + std::to_string(version) + ", for programs that know at least version " +
         std::to_string(oldest_program) + "; this one knows version " + std::to_string(program_schema_version()) +
         ": install a newer romancyd";
}

std::string all_code() {
  std::string texts;
  for (const auto& text : sql::schema::kEngine) texts += text.text;
  for (const auto& text : sql::schema::kApi) texts += text.text;
  return texts;
}

Result<void> run(Blocking& conn, const sql::schema::Text& text) {
  auto done = conn.script(text.text);
  if (!done) return tl::unexpected(std::move(done.error()).within(std::string("sql/") + text.name + ".sql"));
  return {};
}

// Makes the schema if it is not there, and it the only place where names are looked for.
Result<void> enter_schema(Blocking& conn, std::string_view schema) {
  auto server = conn.query(
      "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_database(), "
      "EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
      Params(schema));
  if (!server) return tl::unexpected(server.error());
  if (server->int32(0, 0) < kOldestServer)
    return refuse("PostgreSQL " + server->str(0, 0) + " is too old, 14 or newer is needed");
  if (server->text(0, 1) != "UTF8")
    return refuse("database " + server->str(0, 2) + " has the encoding " + server->str(0, 1) +
                  ", UTF8 is needed (createdb --encoding=UTF8 --template=template0)");
  const std::string name(schema);  // checked: needs no quoting but for keywords
  if (!server->boolean(0, 3)) {
    auto made = conn.script("CREATE SCHEMA \"" + name + "\"");
    if (!made) return tl::unexpected(std::move(made.error()).within("create schema " + name));
  }
  auto entered = conn.script("SET LOCAL search_path = \"" + name +
                             "\", pg_temp; SET LOCAL client_min_messages = warning; SET LOCAL synchronous_commit = on");
  if (!entered) return tl::unexpected(entered.error());
  return {};
}

Result<void> apply_migrations(Blocking& conn, MigrateReport& report) {
  for (const auto& migration : sql::schema::kMigrations) {
    if (version_of(migration) <= report.from) continue;
    if (auto done = run(conn, migration); !done) return done;
    auto now = find_version(conn);
    if (!now) return tl::unexpected(now.error());
    if (now->version != version_of(migration))
      return bug(std::string(migration.name) + " left the schema at version " + std::to_string(now->version));
    report.applied.emplace_back(file_of(migration));
    report.to = now->version;
  }
  return {};
}

Result<void> make_code(Blocking& conn, const std::string& digest, MigrateReport& report) {
  for (const auto& text : sql::schema::kEngine)
    if (auto done = run(conn, text); !done) return done;
  for (const auto& text : sql::schema::kApi)
    if (auto done = run(conn, text); !done) return done;
  auto noted = conn.query("UPDATE schema_version SET code_digest = $1 WHERE version = $2", Params(digest, report.to));
  if (!noted) return tl::unexpected(noted.error());
  report.code_made = true;
  return {};
}

Result<MigrateReport> migrate_in_transaction(Blocking& conn, std::string_view schema) {
  // Two numbers: another key space than the sessions' advisory locks.
  auto locked = conn.query("SELECT pg_advisory_xact_lock(hashtext('romancy migrate'), hashtext($1))", Params(schema));
  if (!locked) return tl::unexpected(locked.error());
  if (auto entered = enter_schema(conn, schema); !entered) return tl::unexpected(entered.error());
  auto found = find_version(conn);
  if (!found) return tl::unexpected(found.error());

  MigrateReport report{.from = found->version, .to = found->version, .applied = {}, .missing_roles = {}};
  if (found->oldest_program > program_schema_version())
    return refuse(too_new(found->version, found->oldest_program));
  if (found->version > program_schema_version()) return report;  // its own programs know better than we do

  if (auto applied = apply_migrations(conn, report); !applied) return tl::unexpected(applied.error());
  auto digest = conn.query("SELECT md5($1)", Params(all_code()));
  if (!digest) return tl::unexpected(digest.error());
  if (digest->text(0, 0) != found->code_digest || !report.applied.empty()) {
    if (auto made = make_code(conn, digest->str(0, 0), report); !made) return tl::unexpected(made.error());
  }
  auto missing = conn.query(
      "SELECT r FROM unnest(ARRAY[current_schema() || '_client', current_schema() || '_worker']) r "
      "WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r)");
  if (!missing) return tl::unexpected(missing.error());
  for (int i = 0; i < missing->size(); ++i) report.missing_roles.push_back(missing->str(i, 0));
  return report;
}

}  // namespace

int program_schema_version() { return version_of(*std::rbegin(sql::schema::kMigrations)); }

Result<void> check_schema_name(std::string_view schema) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (schema.empty() || (schema.front() >= '0' && schema.front() <= '9') || !std::ranges::all_of(schema, allowed))
    return refuse("schema: a name of a-z, 0-9 and _, not beginning with a digit, is needed");
  if (schema.size() > kLongestSchemaName)
    return refuse("schema: is " + std::to_string(schema.size()) + " bytes long, at most 44 are allowed");
  return {};
}

Result<MigrateReport> migrate(Blocking& conn, std::string_view schema) {
  if (auto named = check_schema_name(schema); !named) return tl::unexpected(named.error());
  const std::string what = "migrate " + std::string(schema);
  if (auto begun = conn.script("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"); !begun)
    return tl::unexpected(std::move(begun.error()).within(what));
  auto report = migrate_in_transaction(conn, schema);
  if (!report) {
    // The first error is the one to report. If this fails too, the connection is gone, and the server rolls back.
    if (auto undone = conn.script("ROLLBACK"); !undone) report.error().text += "; " + undone.error().text;
    return tl::unexpected(std::move(report.error()).within(what));
  }
  if (auto committed = conn.script("COMMIT"); !committed)
    return tl::unexpected(std::move(committed.error()).within(what + ": commit"));
  return report;
}

Result<void> judge_schema(const Result<Rows>& answer) {
  if (!answer) {
    const auto& state = answer.error().sqlstate;
    if (state == "42P01" || state == "3F000")
      return refuse("there is no romancy schema of this name in the database: run romancy migrate", state);
    return tl::unexpected(answer.error());
  }
  if (answer->empty()) return refuse("the schema has no version: run romancy migrate");
  const int version = answer->int32(0, 0), oldest_program = answer->int32(0, 1);
  if (oldest_program > program_schema_version()) return refuse(too_new(version, oldest_program));
  if (version < program_schema_version())
    return refuse("the schema is at version " + std::to_string(version) + ", this program needs version " +
                  std::to_string(program_schema_version()) + ": run romancy migrate");
  return {};
}

Result<void> check_schema(Blocking& conn, std::string_view schema) {
  if (auto named = check_schema_name(schema); !named) return named;
  const std::string table = "\"" + std::string(schema) + "\".schema_version";
  auto judged = judge_schema(
      conn.query("SELECT version, oldest_program FROM " + table + " ORDER BY version DESC LIMIT 1"));
  if (!judged) return tl::unexpected(std::move(judged.error()).within("schema " + std::string(schema)));
  return {};
}

}  // namespace romancy::pg
