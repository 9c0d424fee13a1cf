#include "common/pg/answer.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "common/base/log.hpp"
#include "common/pg/sqlstate.hpp"

namespace romancy::pg {
namespace {

std::string field(const PGresult* result, int code) {
  const char* value = PQresultErrorField(result, code);
  return value ? value : "";
}

// libpq ends its messages with a newline and puts several on several lines.
std::string one_line(std::string_view text) {
  std::string line;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!part.empty() && std::isspace(static_cast<unsigned char>(part.front()))) part.remove_prefix(1);
    if (part.empty() || part.starts_with("LOCATION:")) continue;  // the server's source file: of no use to anybody
    if (!line.empty()) line += "; ";
    line += part;
  }
  return line;
}

// Takes the code out of "FATAL:  28P01: password authentication failed". The word before it may be in any language.
std::string take_sqlstate(std::string& text) {
  for (auto at = text.find(":  "); at != text.npos; at = text.find(":  ", at + 1)) {
    const auto code = std::string_view(text).substr(at + 3, 7);
    if (code.size() < 7 || code.substr(5) != ": ") continue;
    const auto of_code = [](unsigned char c) { return std::isdigit(c) || std::isupper(c); };
    if (!std::all_of(code.begin(), code.begin() + 5, of_code)) continue;
    std::string found(code.substr(0, 5));
    text.erase(at + 3, 7);
    return found;
  }
  return {};
}

void on_notice(void* keep, const PGresult* result) {
  Error error = error_of(result);
  if (is_fatal(result)) {
    if (keep) *static_cast<std::optional<Error>*>(keep) = std::move(error);
    return;  // the loss of the connection is reported by whoever owns it
  }
  const auto level = field(result, PG_DIAG_SEVERITY_NONLOCALIZED) == "WARNING" ? log::Level::warn : log::Level::debug;
  log::write(level, "PostgreSQL says", {{"text", error.text}, {"sqlstate", error.sqlstate}});
}

}  // namespace

Error error_of(const PGresult* result) {
  Error error;
  error.sqlstate = field(result, PG_DIAG_SQLSTATE);
  error.kind = classify(error.sqlstate);
  error.text = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (error.text.empty()) error.text = one_line(PQresultErrorMessage(result));
  if (const auto detail = field(result, PG_DIAG_MESSAGE_DETAIL); !detail.empty()) error.text += ": " + detail;
  // Of an error of ours one wants to know the function and the line.
  if (error.kind == ErrorKind::bug)
    if (const auto context = one_line(field(result, PG_DIAG_CONTEXT)); !context.empty())
      error.text += " (" + context + ")";
  return error;
}

bool is_fatal(const PGresult* result) {
  const auto severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity == "FATAL" || severity == "PANIC";
}

bool is_outdated_plan(const PGresult* result) {
  return field(result, PG_DIAG_SQLSTATE) == "0A000" &&
         field(result, PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery";
}

void ask_sqlstate(PGconn* conn) { PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); }

Error connection_error(PGconn* conn) {
  Error error;
  error.text = one_line(PQerrorMessage(conn));
  error.sqlstate = take_sqlstate(error.text);
  error.kind = classify(error.sqlstate);
  if (error.text.empty()) error.text = "libpq gives no reason";
  return error;
}

void add_failure(std::optional<Error>& failures, Error next) {
  if (failures) {
    next.text = failures->text + "; " + next.text;
    if (next.sqlstate.empty()) {
      next.sqlstate = failures->sqlstate;
      next.kind = failures->kind;
    }
  }
  failures = std::move(next);
}

void take_notices(PGconn* conn, std::optional<Error>* keep) { PQsetNoticeReceiver(conn, on_notice, keep); }

}  // namespace romancy::pg
