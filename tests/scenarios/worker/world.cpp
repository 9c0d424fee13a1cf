#include "world.hpp"

#include <libpq-fe.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace world {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Answer = std::unique_ptr<PGresult, decltype(&PQclear)>;

// Connections are lent, one statement each, and there are few: six installations share one server.
constexpr int kMost = 3;
std::mutex mutex;
std::condition_variable given_back;
std::vector<Connection> idle;
int lent = 0;

Connection connect() {
  Connection fresh(PQconnectdb(std::getenv("ROMANCY_TEST_PG")), &PQfinish);
  if (PQstatus(fresh.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(fresh.get()));
  const std::string path = "SET search_path = " + std::string(std::getenv("ROMANCY_TEST_SCHEMA"));
  const Answer set(PQexec(fresh.get(), path.c_str()), &PQclear);
  return fresh;
}

class Loan {
 public:
  Loan() {
    std::unique_lock lock(mutex);
    given_back.wait(lock, [] { return lent < kMost; });
    ++lent;
    if (idle.empty()) return;
    conn_ = std::move(idle.back());
    idle.pop_back();
  }
  ~Loan() {
    const std::lock_guard lock(mutex);
    --lent;
    if (conn_ && PQstatus(conn_.get()) == CONNECTION_OK) idle.push_back(std::move(conn_));
    given_back.notify_one();
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  PGconn* get() {
    if (!conn_) conn_ = connect();
    return conn_.get();
  }

 private:
  Connection conn_{nullptr, &PQfinish};
};

Answer query(const char* sql, const std::vector<std::string>& params) {
  Loan conn;
  std::vector<const char*> values;
  for (const std::string& param : params) values.push_back(param.c_str());
  Answer answer(PQexecParams(conn.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0), &PQclear);
  const ExecStatusType status = PQresultStatus(answer.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) throw std::runtime_error(PQerrorMessage(conn.get()));
  return answer;
}

}  // namespace

void effect(const romancy::Attempt& attempt, const std::string& what) {
  query("INSERT INTO effects (instance_id, what, key, attempt, process) VALUES ($1, $2, $3, $4, $5)",
        {attempt.instance_id(), what, attempt.key(), std::to_string(attempt.number()), std::to_string(::getpid())});
}

bool gate_open(const std::string& name) {
  return PQntuples(query("SELECT 1 FROM gates WHERE name = $1", {name}).get()) == 1;
}

bool wait_for_gate(const romancy::Attempt& attempt, const std::string& name) {
  while (!gate_open(name)) {
    if (attempt.stop_requested()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks at a fact
  }
  return true;
}

void wait_for_gate_stubbornly(const std::string& name) {
  while (!gate_open(name)) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // between two looks at a fact
}

}  // namespace world
