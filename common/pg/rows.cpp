#include "common/pg/rows.hpp"

#include <libpq-fe.h>

#include <charconv>

#include "common/base/check.hpp"

namespace romancy::pg {
namespace {

// For the line that says which column of an answer is not what its reader takes it for.
[[noreturn]] void misread(const PGresult* result, int row, int column, std::string_view why) {
  const char* name = PQfname(result, column);
  broken(std::string("an answer of PostgreSQL was misread: ").append(why),
         "row " + std::to_string(row) + " of " + std::to_string(PQntuples(result)) + ", column " +
             std::to_string(column) + " of " + std::to_string(PQnfields(result)) + (name ? ", " : "") +
             (name ? name : ""));
}

void check_place(const PGresult* result, int row, int column) {
  if (row < 0 || row >= PQntuples(result) || column < 0 || column >= PQnfields(result))
    misread(result, row, column, "no such value");
}

}  // namespace

void Rows::Free::operator()(pg_result* result) const { PQclear(result); }

Rows::Rows(pg_result* owned) : result_(owned) {}

int Rows::size() const { return PQntuples(result_.get()); }

int Rows::columns() const { return PQnfields(result_.get()); }

std::string Rows::name(int column) const {
  const char* name = PQfname(result_.get(), column);
  return name ? name : "";
}

std::string Rows::command() const { return result_ ? PQcmdStatus(result_.get()) : ""; }

bool Rows::is_null(int row, int column) const {
  check_place(result_.get(), row, column);
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Rows::text(int row, int column) const {
  if (is_null(row, column)) misread(result_.get(), row, column, "NULL");
  return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::int64_t Rows::int64(int row, int column) const {
  const auto value = text(row, column);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size()) misread(result_.get(), row, column, "not an integer");
  return number;
}

bool Rows::boolean(int row, int column) const {
  const auto value = text(row, column);
  if (value != "t" && value != "f") misread(result_.get(), row, column, "not a boolean");
  return value == "t";
}

std::int64_t Rows::affected() const {
  // "" for an empty answer and for commands that touch no rows.
  const std::string_view count = result_ ? PQcmdTuples(result_.get()) : "";
  std::int64_t rows = 0;
  std::from_chars(count.data(), count.data() + count.size(), rows);
  return rows;
}

}  // namespace romancy::pg
