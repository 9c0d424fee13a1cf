// test_activity_worker: the activities of activity_test.cpp. gate(name) and the tables are made by the tests, in their
// schema.
#include <algorithm>
#include <atomic>
#include <romancy/romancy.hpp>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;
using romancy::Transaction;

namespace {

struct Debit {
  std::string account;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Debit, account, cents)

std::int64_t take(Transaction& tx, const Debit& d) {
  const auto rows = tx.exec("UPDATE accounts SET cents = cents - $1 WHERE id = $2 RETURNING cents", d.cents, d.account);
  if (rows.empty()) throw romancy::TerminalError("no account " + d.account, "NoSuchAccount");
  tx.exec("INSERT INTO bookings (account, attempt, key) VALUES ($1, $2, $3)", d.account, tx.number(), tx.key());
  tx.exec("SELECT gate('statement')");
  return rows.get<std::int64_t>(0, "cents");
}

const auto debit = romancy::transactional("debit", take, {.retry = {.attempts = 5, .first_interval = 10ms}});

const auto strict = romancy::transactional(
    "strict", [](Transaction& tx, Debit d) { return take(tx, d); },
    {.retry = {.attempts = 5, .first_interval = 10ms, .non_retryable = {"SqlError"}},
     .isolation = romancy::Isolation::serializable});

const auto hasty = romancy::transactional("hasty", [](Transaction& tx, Debit d) { return take(tx, d); },
                                          {.retry = {.attempts = 2, .first_interval = 10ms}, .timeout = 200ms});

// Fails after its writes until the third attempt.
const auto wavering = romancy::transactional(
    "wavering",
    [](Transaction& tx, Debit d) {
      const auto left = take(tx, d);
      if (tx.number() < 3) throw std::runtime_error("not yet");
      return left;
    },
    {.retry = {.attempts = 5, .first_interval = 10ms}});

// What may not be done, and what a savepoint undoes.
const auto odd = romancy::transactional(
    "odd",
    [](Transaction& tx, std::string what) -> Json {
      if (what == "commit") tx.exec(" /* now */ commit");
      if (what == "swallow") {
        try {
          tx.exec("SELECT 1 / $1::int", 0);
        } catch (const romancy::SqlError&) {
        }
        return "swallowed";
      }
      if (what == "deferred") tx.exec("INSERT INTO bookings (account, attempt, key) VALUES ('nobody', 1, 'x')");
      if (what == "savepoint") {
        std::string code;
        try {
          tx.savepoint([&] {
            tx.exec("INSERT INTO bookings (account, attempt, key) VALUES ('a', 7, 'undone')");
            tx.savepoint([&] { tx.exec("SELECT 1 FROM nowhere"); });
          });
        } catch (const romancy::SqlError& e) {
          code = e.sqlstate();
        }
        const int kept = tx.savepoint([&] { return static_cast<int>(
            tx.exec("INSERT INTO bookings (account, attempt, key) VALUES ('a', 8, 'kept')").affected()); });
        const auto rows = tx.exec("SELECT $1::text AS t, $2::float8 AS f, $3::jsonb AS j, $4::int AS n, $5::bool AS b", "é",
                                  0.1, Json{{"a", 1}}, nullptr, true);
        return Json{{"code", code},
                    {"kept", kept},
                    {"t", rows.get<std::string>(0, "t")},
                    {"f", rows.get<double>(0, "f")},
                    {"j", rows.get<Json>(0, "j")},
                    {"n", rows.get<std::optional<int>>(0, "n").has_value()},
                    {"b", rows.get<bool>(0, "b")}};
      }
      return what;
    },
    {.retry = {.attempts = 2, .first_interval = 1ms}});

// Its first attempt never returns by itself: it waits for the row that the second one writes.
std::atomic<bool> second_made = false;
const auto sluggish = romancy::activity(
    "sluggish",
    [](Attempt& at) -> std::string {
      if (at.number() == 1) {
        while (!second_made) std::this_thread::yield();
        return at.stop_requested() ? "late" : "never told";
      }
      second_made = true;
      return "second";
    },
    {.retry = {.attempts = 2, .first_interval = 1ms}, .timeout = 100ms});

const auto never = romancy::activity(
    "never",
    [](Attempt& at) {
      while (!at.stop_requested()) std::this_thread::yield();
      throw romancy::Stopped{};
    },
    {.retry = {.attempts = 1}, .timeout = 50ms});

// Waits without a thread until it is told to stop, or for so long.
const auto nap = romancy::async_activity("nap", [](romancy::AsyncAttempt& at, int ms) -> romancy::Async<int> {
  co_await at.sleep(std::chrono::milliseconds(ms));
  const int answer = co_await at.completed<int>([ms](auto done) { std::thread([done, ms] { done(ms); }).detach(); });
  co_return answer;
});
const auto short_nap = romancy::async_activity(
    "short_nap", [](romancy::AsyncAttempt& at, int ms) -> romancy::Async<int> {
      co_await at.sleep(std::chrono::milliseconds(ms));
      co_return ms;
    },
    {.retry = {.attempts = 2, .first_interval = 1ms}, .timeout = 50ms});

const auto naps = romancy::workflow("nap", [](Context& ctx, int ms) -> Task<int> { co_return co_await ctx.run(nap, ms); });
const auto short_naps = romancy::workflow("short_nap", [](Context& ctx, int ms) -> Task<Json> {
  Json result;
  try {
    result = co_await ctx.run(short_nap, ms);
  } catch (const romancy::ActivityError& e) {
    result = Json{{"type", e.type()}, {"attempt", e.attempt()}};
  }
  co_await ctx.sleep(1ms);
  co_return result;
});

// As a handle, though nobody here registers it: the name is what counts.
const auto group_members = romancy::transactional(
    "romancy.group_members", [](Transaction&, std::string) -> std::vector<std::string> { throw std::logic_error("not me"); });
const auto who = romancy::workflow("who", [](Context& ctx, std::string group) -> Task<std::vector<std::string>> {
  co_return co_await ctx.run(group_members, group);
});

template <class A>
auto pays(const char* name, const A& activity) {
  return romancy::workflow(name, [activity](Context& ctx, Debit d) -> Task<Json> {
    Json result;
    try {
      result = co_await ctx.run(activity, d);
    } catch (const romancy::ActivityError& e) {
      result = Json{{"type", e.type()}, {"message", e.message()}, {"attempt", e.attempt()}};
    }
    co_await ctx.sleep(1ms);  // and it must replay
    co_return result;
  });
}

// As many debits at once as asked for, all of one run.
const auto many = romancy::workflow("many", [](Context& ctx, int count) -> Task<std::int64_t> {
  std::vector<romancy::Future<std::int64_t>> all;
  for (int i = 0; i < count; ++i) {
    const Debit d{"a", 1};
    all.push_back(ctx.start(ctx.run(debit, d)));
  }
  const auto left = co_await ctx.wait_all(all);
  co_await ctx.sleep(1ms);
  co_return *std::min_element(left.begin(), left.end());
});

// The debit, unless it is overtaken.
const auto overtaken = romancy::workflow("overtaken", [](Context& ctx, Debit d) -> Task<std::string> {
  auto first = co_await ctx.when_any(ctx.run(debit, d), ctx.receive<std::string>("stop"));
  co_await ctx.receive<Json>("go on");  // the instance is let go, and claimed anew
  co_await ctx.sleep(1ms);
  if (first.index() == 1) co_return first.get<1>();
  co_return "paid";
});

const auto oddly = romancy::workflow("odd", [](Context& ctx, std::string what) -> Task<Json> {
  Json result;
  try {
    result = co_await ctx.run(odd, what);
  } catch (const romancy::ActivityError& e) {
    result = Json{{"type", e.type()}, {"message", e.message()}, {"attempt", e.attempt()}};
  }
  co_await ctx.sleep(1ms);
  co_return result;
});

const auto slow = romancy::workflow("sluggish", [](Context& ctx) -> Task<std::string> { co_return co_await ctx.run(sluggish); });

const auto times_out = romancy::workflow("never", [](Context& ctx) -> Task<std::string> {
  std::string type;
  try {
    co_await ctx.run(never);
  } catch (const romancy::ActivityError& e) {
    type = e.type();
  }
  co_await ctx.sleep(1ms);
  co_return type;
});

}  // namespace

int main(int argc, char** argv) {
  return romancy::run_worker(argc, argv,
                             {pays("debit", debit), pays("strict", strict), pays("hasty", hasty), pays("wavering", wavering),
                              oddly, slow, times_out, naps, short_naps, who, many, overtaken},
                             {debit, strict, hasty, wavering, odd, sluggish, never, nap, short_nap});
}
