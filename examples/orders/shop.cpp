#include "shop.hpp"

#include <cstdlib>
#include <libpq-fe.h>
#include <memory>
#include <string_view>

namespace shop {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Answer = std::unique_ptr<PGresult, decltype(&PQclear)>;

constexpr const char* kBusyCard = "4000000000000119";
constexpr const char* kDeclinedCard = "4000000000000002";
constexpr std::string_view kCheckViolation = "23514";
constexpr int kBusyAnswers = 2;  // how often the bank says "try again" to the busy card

// An attempt begins: count it, in a transaction of its own, so that it stays counted when the attempt fails.
constexpr const char* kBegin = R"(
  INSERT INTO shop.effects AS e (key, order_id, kind, cents)
  VALUES ($1, $2, $3, $4)
  ON CONFLICT (key) DO UPDATE SET attempts = e.attempts + 1
  RETURNING attempts, done_at IS NOT NULL)";

// The effect and the mark that it was done are one statement. Two attempts with one key (a lost connection whose
// server still works) meet on the row of `effects`: the second finds done_at set and moves nothing.
constexpr const char* kDone = R"(
  UPDATE shop.effects
  SET done_at = clock_timestamp()
  WHERE key = $1
    AND done_at IS NULL)";
constexpr const char* kMoveStock = R"(
  WITH first AS (
    UPDATE shop.effects
    SET done_at = clock_timestamp()
    WHERE key = $1
      AND done_at IS NULL
    RETURNING 1),
  lines AS (
    SELECT sku, sum(qty) AS qty
    FROM unnest($2::text[], $3::bigint[]) AS line (sku, qty)
    WHERE EXISTS (SELECT FROM first)
    GROUP BY sku),
  locked AS MATERIALIZED (                                     -- in one order: two orders of the same two articles
    SELECT stock.sku
    FROM shop.stock
    JOIN lines USING (sku)
    ORDER BY stock.sku
    FOR UPDATE OF stock)
  UPDATE shop.stock
  SET on_hand = on_hand + lines.qty
  FROM lines
  JOIN locked USING (sku)
  WHERE stock.sku = lines.sku)";

// This thread's connection, opened again when it was lost.
PGconn* connection() {
  thread_local Connection mine(nullptr, &PQfinish);
  if (mine && PQstatus(mine.get()) == CONNECTION_OK) return mine.get();
  const char* conninfo = std::getenv("SHOP_DATABASE");
  mine.reset(PQconnectdb(conninfo == nullptr ? "" : conninfo));
  if (PQstatus(mine.get()) != CONNECTION_OK) throw Trouble(std::string("shop database: ") + PQerrorMessage(mine.get()));
  return mine.get();
}

Answer query(const char* sql, const std::vector<std::string>& params) {
  std::vector<const char*> values;
  values.reserve(params.size());
  for (const std::string& param : params) values.push_back(param.c_str());
  PGconn* conn = connection();
  Answer answer(PQexecParams(conn, sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr, 0),
                &PQclear);
  const ExecStatusType status = PQresultStatus(answer.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return answer;
  const char* sqlstate = PQresultErrorField(answer.get(), PG_DIAG_SQLSTATE);
  if (sqlstate != nullptr && std::string_view(sqlstate) == kCheckViolation) throw Declined("sold out");
  throw Trouble(std::string("shop database: ") + PQerrorMessage(conn));
}

struct Attempt {
  int number;
  bool done;  // by an earlier attempt that nobody heard of
};
Attempt begin(const std::string& key, const std::string& order_id, const char* kind, std::int64_t cents) {
  const Answer answer = query(kBegin, {key, order_id, kind, std::to_string(cents)});
  return {std::atoi(PQgetvalue(answer.get(), 0, 0)), *PQgetvalue(answer.get(), 0, 1) == 't'};
}

// An array literal of PostgreSQL; the values are skus and numbers, quoted all the same.
template <class Text>
std::string array_of(const std::vector<Line>& lines, Text text) {
  std::string out = "{";
  for (const Line& line : lines) {
    if (out.size() > 1) out += ',';
    out += '"';
    for (const char c : text(line)) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

void move_stock(const char* kind, const std::string& key, const std::string& order_id, const std::vector<Line>& lines,
                int direction) {
  if (begin(key, order_id, kind, 0).done) return;
  query(kMoveStock, {key, array_of(lines, [](const Line& line) { return line.sku; }),
                     array_of(lines, [&](const Line& line) { return std::to_string(direction * line.qty); })});
}

}  // namespace

void reserve(const std::string& key, const std::string& order_id, const std::vector<Line>& lines) {
  move_stock("reserve", key, order_id, lines, -1);
}

void release(const std::string& key, const std::string& order_id, const std::vector<Line>& lines) {
  move_stock("release", key, order_id, lines, +1);
}

void charge(const std::string& key, const std::string& order_id, const std::string& card, std::int64_t cents) {
  const Attempt attempt = begin(key, order_id, "charge", cents);
  if (attempt.done) return;
  if (card == kDeclinedCard) throw Declined("the bank declined card ending " + card.substr(card.size() - 4));
  if (card == kBusyCard && attempt.number <= kBusyAnswers) throw Trouble("the bank is busy, try again");
  query(kDone, {key});
}

void refund(const std::string& key, const std::string& order_id, std::int64_t cents) {
  if (!begin(key, order_id, "refund", cents).done) query(kDone, {key});
}

std::string ship(const std::string& key, const std::string& order_id) {
  if (!begin(key, order_id, "ship", 0).done) query(kDone, {key});
  return "1Z" + order_id.substr(order_id.find_first_of("0123456789"));
}

}  // namespace shop
