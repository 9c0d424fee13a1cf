#include "common/pg/blocking.hpp"

#include <poll.h>

#include <cerrno>
#include <cstring>

#include "common/base/log.hpp"
#include "common/io/resolve.hpp"
#include "common/pg/answer.hpp"
#include "common/pg/settings.hpp"

namespace romancy::pg {
namespace {

using Clock = std::chrono::steady_clock;

// Waits until libpq's socket is ready; false when the deadline has passed.
bool wait_for(PGconn* conn, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd descriptor{.fd = PQsocket(conn), .events = events, .revents = 0};
    const int ready = ::poll(&descriptor, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // PQconnectPoll will find the same fault and name it
  }
}

Result<PgConn> connect_to(const Keywords& where, const std::string& said, std::chrono::milliseconds timeout) {
  PgConn conn = start(where);
  if (!conn) return try_again("out of memory");
  const auto deadline = Clock::now() + timeout;
  short events = POLLOUT;  // what the manual says to wait for first
  while (PQstatus(conn.get()) != CONNECTION_BAD) {
    if (!wait_for(conn.get(), events, deadline))
      return try_again(said + ": no answer within " + std::to_string(timeout.count()) + " ms");
    switch (PQconnectPoll(conn.get())) {
      case PGRES_POLLING_OK: return conn;
      case PGRES_POLLING_READING: events = POLLIN; break;
      case PGRES_POLLING_WRITING: events = POLLOUT; break;
      case PGRES_POLLING_FAILED:
      case PGRES_POLLING_ACTIVE: return tl::unexpected(connection_error(conn.get()));
    }
  }
  return tl::unexpected(connection_error(conn.get()));
}

Result<PgConn> connect_host(const Target& host, std::chrono::milliseconds timeout) {
  if (host.name.empty()) return connect_to(host.keywords, host.said(), timeout);
  const auto addresses = io::resolve_within(host.name, timeout);
  if (!addresses) return tl::unexpected(addresses.error());
  std::optional<Error> failures;
  for (const std::string& address : *addresses) {
    auto conn = connect_to(host.at(address), host.said() + " (" + address + ")", timeout);
    if (conn) return conn;
    add_failure(failures, std::move(conn.error()));
  }
  return tl::unexpected(std::move(*failures));
}

Result<Rows> answer(PGconn* conn, PGresult* owned) {
  if (!owned) return tl::unexpected(connection_error(conn));
  PgResult result(owned);
  switch (PQresultStatus(owned)) {
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK: return Rows(result.release());
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH: return bug("a COPY is not possible here");
    default: return tl::unexpected(error_of(owned));
  }
}

// The first answer of the command under way, waited for; the later ones (there are none) are passed over.
Result<Rows> await_answer(PGconn* conn, int interrupt) {
  bool cancelled = false;
  for (;;) {
    const int flushed = PQflush(conn);
    if (flushed < 0) break;
    if (flushed == 0 && !PQisBusy(conn)) break;
    pollfd waits[2] = {{.fd = PQsocket(conn), .events = POLLIN, .revents = 0},
                       {.fd = cancelled ? -1 : interrupt, .events = POLLIN, .revents = 0}};
    if (flushed == 1) waits[0].events |= POLLOUT;
    if (::poll(waits, 2, -1) < 0 && errno != EINTR) break;
    if ((waits[1].revents & POLLIN) != 0) {
      cancelled = true;
      char why[256];
      if (auto* cancel = PQgetCancel(conn)) {  // on a connection of its own; that it may fail is in its nature
        if (PQcancel(cancel, why, sizeof why) == 0) log::warn("cannot cancel a statement", {{"error", std::string(why)}});
        PQfreeCancel(cancel);
      }
    }
    if ((waits[0].revents & (POLLIN | POLLERR | POLLHUP)) != 0 && PQconsumeInput(conn) == 0) break;
  }
  auto first = answer(conn, PQgetResult(conn));
  while (PGresult* more = PQgetResult(conn)) {
    const auto status = PQresultStatus(more);
    PQclear(more);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) break;  // for ever the same
  }
  return first;
}

}  // namespace

void Blocking::Close::operator()(void* conn) const { PQfinish(static_cast<PGconn*>(conn)); }

Result<Blocking> Blocking::connect(const ConnOptions& options) {
  const auto hosts = targets(options);
  if (!hosts) return tl::unexpected(hosts.error());
  std::optional<Error> failures;
  for (const Target& host : *hosts) {
    auto conn = connect_host(host, options.connect_timeout);
    if (conn) {
      Blocking up;
      up.conn_.reset(conn->release());
      return up;
    }
    add_failure(failures, std::move(conn.error()));
  }
  return tl::unexpected(std::move(*failures).within("connect"));
}

Result<Rows> Blocking::query(std::string_view sql, const Params& params) {
  std::vector<const char*> values;
  for (const auto& value : params.values()) {
    if (value && value->find('\0') != value->npos) return refuse("a parameter contains a zero byte", "22021");
    values.push_back(value ? value->c_str() : nullptr);
  }
  auto* conn = static_cast<PGconn*>(conn_.get());
  return answer(conn, PQexecParams(conn, std::string(sql).c_str(), static_cast<int>(values.size()), nullptr,
                                   values.data(), nullptr, nullptr, 0));
}

Result<Rows> Blocking::query(std::string_view sql, const Params& params, int interrupt) {
  std::vector<const char*> values;
  for (const auto& value : params.values()) {
    if (value && value->find('\0') != value->npos) return refuse("a parameter contains a zero byte", "22021");
    values.push_back(value ? value->c_str() : nullptr);
  }
  auto* conn = static_cast<PGconn*>(conn_.get());
  if (conn == nullptr) return try_again("the connection is closed");
  if (PQsendQueryParams(conn, std::string(sql).c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                        nullptr, 0) == 0) {
    return tl::unexpected(connection_error(conn));
  }
  auto rows = await_answer(conn, interrupt);
  if (PQtransactionStatus(conn) == PQTRANS_ACTIVE) conn_.reset();
  return rows;
}

Result<Rows> Blocking::script(std::string_view sql) {
  auto* conn = static_cast<PGconn*>(conn_.get());
  return answer(conn, PQexec(conn, std::string(sql).c_str()));
}

Result<std::vector<std::string>> Blocking::wait_notified(std::chrono::steady_clock::time_point deadline) {
  auto* conn = static_cast<PGconn*>(conn_.get());
  if (conn == nullptr) return try_again("the connection is closed");
  for (;;) {
    // A connection that is lost must not look like silence.
    if (PQconsumeInput(conn) == 0) return tl::unexpected(connection_error(conn));
    std::vector<std::string> payloads;
    while (PGnotify* one = PQnotifies(conn)) {
      payloads.emplace_back(one->extra);
      PQfreemem(one);
    }
    if (!payloads.empty()) return payloads;
    if (PQstatus(conn) != CONNECTION_OK) return tl::unexpected(connection_error(conn));
    if (!wait_for(conn, POLLIN, deadline)) return payloads;
  }
}

bool Blocking::alive() const { return conn_ && PQstatus(static_cast<PGconn*>(conn_.get())) == CONNECTION_OK; }

Blocking::Transaction Blocking::transaction() const {
  switch (PQtransactionStatus(static_cast<PGconn*>(conn_.get()))) {
    case PQTRANS_INTRANS: return Transaction::open;
    case PQTRANS_INERROR: return Transaction::failed;
    case PQTRANS_IDLE:
    case PQTRANS_ACTIVE:
    case PQTRANS_UNKNOWN: return Transaction::none;
  }
  return Transaction::none;
}

int Blocking::backend_pid() const { return PQbackendPID(static_cast<PGconn*>(conn_.get())); }

}  // namespace romancy::pg
