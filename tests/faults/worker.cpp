// fault_worker: the load that runs through every fault. Its effects go to the table load.effects over a connection of their
// own (FAULTS_PG), which no fault of the network touches: what a row breaks is ours, and never the measuring of it.
#include <libpq-fe.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <romancy/romancy.hpp>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Answer = std::unique_ptr<PGresult, decltype(&PQclear)>;

// One a thread. A connection that is of no use any more is forgotten; the attempt fails, and the next one makes another.
void query(const char* sql, const std::string& param) {
  thread_local Connection conn(nullptr, &PQfinish);
  if (!conn || PQstatus(conn.get()) != CONNECTION_OK) {
    conn.reset(PQconnectdb((std::string(std::getenv("FAULTS_PG")) + " connect_timeout=5").c_str()));
    if (PQstatus(conn.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(conn.get()));
  }
  const char* values[] = {param.c_str()};
  const Answer answer(PQexecParams(conn.get(), sql, 1, nullptr, values, nullptr, nullptr, 0), &PQclear);
  const ExecStatusType status = PQresultStatus(answer.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return;
  const std::string error = PQerrorMessage(conn.get());
  conn.reset();
  throw std::runtime_error(error);
}

// One effect under its key, however many attempts it takes.
const auto effect = romancy::activity(
    "effect",
    [](romancy::Attempt&, std::string key) {
      query("INSERT INTO load.effects (key) VALUES ($1) ON CONFLICT (key) DO UPDATE SET attempts = load.effects.attempts + 1",
            key);
    },
    {.retry = {.attempts = 0, .first_interval = 50ms, .max_interval = 500ms}});

// What a stuck drain is made of: nothing stops it but a kill.
const auto stubborn = romancy::activity("stubborn", [](romancy::Attempt&, std::string gate) {
  while (!std::ifstream(gate)) std::this_thread::sleep_for(5ms);  // between two looks at a fact
});

// The shortest whole path: an effect, a timer, an effect.
const auto probe = romancy::workflow("probe", [](Context& ctx) -> Task<> {
  const std::string before = ctx.instance_id() + "/0", after = ctx.instance_id() + "/1";
  co_await ctx.run(effect, before);
  co_await ctx.sleep(20ms);
  co_await ctx.run(effect, after);
});

// Timers of some length, and an event a step.
const auto walk = romancy::workflow("walk", [](Context& ctx, int steps) -> Task<> {
  for (int i = 0; i < steps; ++i) {
    const std::string key = ctx.instance_id() + "/" + std::to_string(i);
    co_await ctx.run(effect, key);
    const Json data{{"key", key}};
    ctx.send_event("walked", "faults", data);
    co_await ctx.sleep(300ms);
  }
});

// The messages 0, 1, 2 .. of its channel, in this order, each with its effect; -1 is the last.
const auto reader = romancy::workflow("reader", [](Context& ctx) -> Task<int> {
  for (int expected = 0;; ++expected) {
    const int got = co_await ctx.receive<int>("mail");
    if (got == -1) co_return expected;
    if (got != expected) throw std::runtime_error("expected " + std::to_string(expected) + ", got " + std::to_string(got));
    const std::string key = ctx.instance_id() + "/" + std::to_string(got);
    co_await ctx.run(effect, key);
  }
});

const auto stuck = romancy::workflow("stuck", [](Context& ctx, std::string gate) -> Task<> { co_await ctx.run(stubborn, gate); });

// Kills its worker as often as the worker is new.
const auto dies = romancy::activity("dies", [](romancy::Attempt&) { std::abort(); });
const auto poison = romancy::workflow("poison", [](Context& ctx) -> Task<> { co_await ctx.run(dies); });

// A line in the database that commits with the result.
const auto book = romancy::transactional(
    "book", [](romancy::Transaction& tx, std::string key) { tx.exec("INSERT INTO load.ledger VALUES ($1)", key); },
    {.retry = {.attempts = 0, .first_interval = 50ms, .max_interval = 500ms}});
const auto ledger = romancy::workflow("ledger", [](Context& ctx) -> Task<> {
  const std::string key = ctx.instance_id();
  co_await ctx.run(book, key);
});

const auto takes_text = romancy::workflow("takes_text", [](Context& ctx) -> Task<std::string> { co_return co_await ctx.receive<std::string>("text"); });

}  // namespace

int main(int argc, char** argv) {
  // fault_worker --subreaper PROGRAM ARGUMENTS: becomes the program, to which orphans are given from then on.
  if (argc > 2 && std::string(argv[1]) == "--subreaper") {
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0) ::execv(argv[2], argv + 2);
    return 127;
  }
  // A row about crash loops: no process begins while the file is there.
  if (std::ifstream(std::string(std::getenv("FAULTS_DIR")) + "/fail_at_start")) std::abort();
  return romancy::run_worker(argc, argv, {probe, walk, reader, stuck, poison, ledger, takes_text}, {effect, stubborn, dies, book});
}
