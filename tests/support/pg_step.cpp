#include "tests/support/pg_step.hpp"

#include <libpq-fe.h>

#include <stdexcept>
#include <thread>

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kHangGuard = 60s;
struct Free {
  void operator()(PGconn* conn) const { PQfinish(conn); }
  void operator()(PGresult* result) const { PQclear(result); }
};
using Answer = std::unique_ptr<PGresult, Free>;

std::string text_of(const PGresult* result) {
  std::string text;
  for (int row = 0; row < PQntuples(result); ++row) {
    if (row > 0) text += '\n';
    for (int column = 0; column < PQnfields(result); ++column) {
      if (column > 0) text += '|';
      text += PQgetvalue(result, row, column);
    }
  }
  return text;
}

bool failed(const PGresult* result) {
  const auto status = PQresultStatus(result);
  return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY;
}

std::string error_of(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  return std::string(state ? state : "") + " " + (message ? message : "");
}

using Connection = std::unique_ptr<PGconn, Free>;

Connection connect(const std::string& conninfo) {
  Connection conn(PQconnectdb(conninfo.c_str()));
  if (PQstatus(conn.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(conn.get()));
  return conn;
}

}  // namespace

struct Step::State {
  std::string conninfo;
  Connection conn, watcher;
  std::vector<std::string> notices;

  // Asks the server about this connection, on another one, made when first needed.
  std::string ask(const std::string& sql) {
    if (!watcher) watcher = connect(conninfo);
    const Answer answer(PQexec(watcher.get(), sql.c_str()));
    return text_of(answer.get());
  }

  // The answer to all that was sent; of several commands the last, or the first error.
  Answer wait() {
    Answer last;
    for (PGresult* next = PQgetResult(conn.get()); next != nullptr; next = PQgetResult(conn.get())) {
      Answer result(next);
      if (!last || !failed(last.get())) last = std::move(result);
    }
    if (!last) throw std::runtime_error(PQerrorMessage(conn.get()));
    return last;
  }
};

Step::Step(const Schema& schema) : state_(std::make_unique<State>()) {
  state_->conninfo = schema.conninfo();
  state_->conn = connect(schema.conninfo());
  PQsetNoticeReceiver(
      state_->conn.get(),
      [](void* to, const PGresult* notice) {
        static_cast<std::vector<std::string>*>(to)->emplace_back(PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY));
      },
      &state_->notices);
  std::string settings = "SET search_path = " + schema.name() + ", pg_temp; SET TimeZone = UTC; SET jit = off;";
  for (const auto& [name, value] : pg::worker_settings()) settings += "SET " + name + " = '" + value + "';";
  run(settings);
}

Step::~Step() = default;

void Step::send(const std::string& sql) {
  if (PQsendQuery(state_->conn.get(), sql.c_str()) != 1) throw std::runtime_error(PQerrorMessage(state_->conn.get()));
}

std::string Step::collect() {
  const Answer answer = state_->wait();
  if (failed(answer.get())) ADD_FAILURE() << error_of(answer.get());
  return text_of(answer.get());
}

std::string Step::collect_error() {
  const Answer answer = state_->wait();
  if (!failed(answer.get())) ADD_FAILURE() << "no error, but: " << text_of(answer.get());
  return error_of(answer.get());
}

std::string Step::collect_any() {
  const Answer answer = state_->wait();
  return failed(answer.get()) ? error_of(answer.get()) : text_of(answer.get());
}

std::string Step::run(const std::string& sql) {
  send(sql);
  return collect();
}

std::string Step::error(const std::string& sql) {
  send(sql);
  return collect_error();
}

void Step::expect_blocked() {
  const std::string blocked = "SELECT cardinality(pg_blocking_pids(" + std::to_string(pid()) + ")) > 0";
  const auto guard = std::chrono::steady_clock::now() + kHangGuard;
  while (std::chrono::steady_clock::now() < guard) {
    if (state_->ask(blocked) == "t") return;
    if (PQconsumeInput(state_->conn.get()) != 1 || PQisBusy(state_->conn.get()) == 0) {
      ADD_FAILURE() << "it was answered without waiting: " << collect();
      return;
    }
    std::this_thread::sleep_for(1ms);  // between two looks at the fact
  }
  ADD_FAILURE() << "it neither waits for a lock nor ends";
}

void Step::wait_until(const std::string& sql) {
  const auto guard = std::chrono::steady_clock::now() + kHangGuard;
  while (run(sql) != "t") {
    if (std::chrono::steady_clock::now() > guard) {
      ADD_FAILURE() << "never true: " << sql;
      return;
    }
    std::this_thread::sleep_for(1ms);  // between two looks at the fact
  }
}

int Step::pid() const { return PQbackendPID(state_->conn.get()); }

void Step::disconnect() {
  const std::string backends = "SELECT count(*) FROM pg_stat_activity WHERE pid = " + std::to_string(pid());
  state_->conn.reset();
  const auto guard = std::chrono::steady_clock::now() + kHangGuard;
  while (std::chrono::steady_clock::now() < guard) {
    if (state_->ask(backends) == "0") return;
    std::this_thread::sleep_for(1ms);  // between two looks at the fact
  }
  ADD_FAILURE() << "the server's process does not end";
}

std::vector<std::string> Step::notices() { return std::exchange(state_->notices, {}); }

std::vector<std::pair<std::string, std::string>> Step::notifications() {
  run("SELECT 1");
  std::vector<std::pair<std::string, std::string>> all;
  while (PGnotify* next = PQnotifies(state_->conn.get())) {
    all.emplace_back(next->relname, next->extra);
    PQfreemem(next);
  }
  return all;
}

Gate::Gate(const Schema& schema, const std::string& name) : holder_(schema), name_(name) { close(); }

void Gate::open() { holder_.run("SELECT pg_advisory_unlock(4711, hashtext(current_schema() || '" + name_ + "'))"); }

void Gate::close() {
  open();  // a lock taken twice must be given back twice
  holder_.run("SELECT pg_advisory_lock(4711, hashtext(current_schema() || '" + name_ + "'))");
}

}  // namespace romancy::test
