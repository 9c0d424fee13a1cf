#include "relay/outbox_store.hpp"

#include <utility>

#include "common/base/test_point.hpp"
#include "common/pg/migrate.hpp"
#include "sql/all.hpp"
#include "sql/relay.hpp"

namespace romancy::relay {

using pg::Params;
using pg::Rows;

namespace {

// Turns rows into T with `read`, and hands it on; an error gets to know what was tried.
template <class T, class Read>
pg::Conn::Reply reader(const char* what, OutboxStore::Reply<T> reply, Read read) {
  return [what, reply = std::move(reply), read = std::move(read)](Result<Rows> rows) {
    if (!rows) return reply(tl::unexpected(std::move(rows.error()).within(what)));
    if constexpr (std::is_void_v<T>) {
      reply({});
    } else {
      reply(read(*rows));
    }
  };
}

void nothing(const Rows&) {}

std::string interval(std::chrono::milliseconds value) {
  return std::to_string(value.count()) + " milliseconds";
}

}  // namespace

void OutboxStore::check_schema(Reply<void> reply) {
  conn_.query(sql::all::schema_version, Params{},
              [reply = std::move(reply)](Result<Rows> rows) { reply(pg::judge_schema(rows)); });
}

void OutboxStore::start_session(std::int64_t session, const std::string& worker, ms timeout,
                                const std::vector<std::int64_t>& former, Reply<void> reply) {
  const std::vector<std::string> none;  // a relay serves no workflows
  conn_.query(sql::relay::start_session, Params(session, worker, "relay", none, none, interval(timeout), former),
              reader<void>("start_session", std::move(reply), nothing));
}

void OutboxStore::heartbeat(std::int64_t session, ms timeout, Reply<bool> reply) {
  conn_.query(sql::relay::heartbeat_session, Params(session, interval(timeout), std::vector<std::string>{}),
              reader<bool>("heartbeat_session", std::move(reply), [](const Rows& rows) { return rows.boolean(0, 0); }));
}

void OutboxStore::end_session(std::int64_t session, Reply<void> reply) {
  conn_.query(sql::relay::end_session, Params(session, false, false),
              reader<void>("end_session", std::move(reply), nothing));
}

void OutboxStore::claim(std::int64_t session, int most, ms hold, Reply<std::vector<Event>> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("relay.claim.before"));
  conn_.query(sql::relay::claim_outbox, Params(session, most, interval(hold)),
              reader<std::vector<Event>>("claim_outbox", std::move(reply), [](const Rows& rows) {
                if (!rows.empty()) static_cast<void>(ROMANCY_TEST_POINT("relay.claim.after"));
                std::vector<Event> events;
                events.reserve(static_cast<std::size_t>(rows.size()));
                for (int i = 0; i < rows.size(); ++i) {
                  events.push_back({.event_id = rows.str(i, 0),
                                    .event_type = rows.str(i, 1),
                                    .event_source = rows.str(i, 2),
                                    .data = rows.is_null(i, 3) ? std::string() : rows.str(i, 3),
                                    .content_type = rows.str(i, 4),
                                    .created_at = rows.str(i, 5),
                                    .attempt = rows.int32(i, 6)});
                }
                return events;
              }));
}

void OutboxStore::next(Reply<std::optional<std::int64_t>> reply) {
  conn_.query(sql::relay::next_outbox, Params{},
              reader<std::optional<std::int64_t>>("next_outbox", std::move(reply), [](const Rows& rows) {
                return rows.is_null(0, 0) ? std::optional<std::int64_t>() : std::optional(rows.int64(0, 0));
              }));
}

void OutboxStore::complete(std::int64_t session, const std::vector<Delivered>& events, Reply<int> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("relay.acknowledge.before"));
  std::vector<std::string> ids;
  std::vector<int> attempts;
  for (const Delivered& event : events) {
    ids.push_back(event.event_id);
    attempts.push_back(event.attempt);
  }
  conn_.query(sql::relay::complete_outbox, Params(session, ids, attempts),
              reader<int>("complete_outbox", std::move(reply), [](const Rows& rows) {
                static_cast<void>(ROMANCY_TEST_POINT("relay.acknowledge.after"));
                return rows.int32(0, 0);
              }));
}

void OutboxStore::fail(std::int64_t session, const Failed& event, Reply<bool> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("relay.refuse.before"));
  conn_.query(sql::relay::fail_outbox,
              Params(session, event.event_id, event.attempt, event.why, interval(event.wait), event.give_up),
              reader<bool>("fail_outbox", std::move(reply), [](const Rows& rows) {
                static_cast<void>(ROMANCY_TEST_POINT("relay.refuse.after"));
                return rows.boolean(0, 0);
              }));
}

}  // namespace romancy::relay
