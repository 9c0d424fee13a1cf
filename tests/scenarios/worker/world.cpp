#include "world.hpp"

#include <libpq-fe.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace world {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Answer = std::unique_ptr<PGresult, decltype(&PQclear)>;

// Connections are lent, one statement each: activities that wait for a gate hold none.
std::mutex mutex;
std::vector<Connection> idle;

Connection lend() {
  {
    const std::lock_guard lock(mutex);
    if (!idle.empty()) {
      Connection lent = std::move(idle.back());
      idle.pop_back();
      return lent;
    }
  }
  Connection fresh(PQconnectdb(std::getenv("ROMANCY_TEST_PG")), &PQfinish);
  if (PQstatus(fresh.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(fresh.get()));
  const std::string path = "SET search_path = " + std::string(std::getenv("ROMANCY_TEST_SCHEMA"));
  const Answer set(PQexec(fresh.get(), path.c_str()), &PQclear);
  return fresh;
}

Answer query(const char* sql, const std::vector<std::string>& params) {
  Connection conn = lend();
  std::vector<const char*> values;
  for (const std::string& param : params) values.push_back(param.c_str());
  Answer answer(PQexecParams(conn.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0), &PQclear);
  const ExecStatusType status = PQresultStatus(answer.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) throw std::runtime_error(PQerrorMessage(conn.get()));
  const std::lock_guard lock(mutex);
  idle.push_back(std::move(conn));
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
