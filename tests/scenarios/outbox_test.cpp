// Outbox: an event is there if, and only if, what it belongs to was committed; once.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class Outboxes : public Scenario {
 protected:
  std::int64_t events(const std::string& id) {
    return count("SELECT count(*) FROM outbox_events WHERE data ->> 'from' = $1", pg::Params(id));
  }
};
ROMANCY_THEME(Outbox, Outboxes);

TEST_P(Outbox, EachEventIsWrittenOnceHoweverOftenTheWorkflowIsReplayed) {
  const auto id = start("announces", 6);
  expect_completed(id);
  EXPECT_EQ(events(id), 6);
  EXPECT_EQ(one("SELECT string_agg(data ->> 'n', '' ORDER BY created_at) FROM outbox_events WHERE data ->> 'from' = $1", pg::Params(id)), "012345");
}

TEST_P(Outbox, IdsDifferAndIntegersAreKept) {
  const auto id = start("announces", 3);
  expect_completed(id);
  EXPECT_EQ(count("SELECT count(DISTINCT event_id) FROM outbox_events WHERE data ->> 'from' = $1 AND data ->> 'big' = '9007199254740993'", pg::Params(id)), 3);
}

TEST_P(Outbox, AnEventSentBeforeAFailureHasHappened) {
  const auto id = start("announces_then_fails");
  expect_failed(id);
  EXPECT_EQ(events(id), 1);
}

TEST_P(Outbox, TypeSourceAndContentTypeAreTheWorkflowsOwn) {
  const auto id = start("announces_text");
  expect_completed(id);
  EXPECT_EQ(one("SELECT event_type || '|' || content_type || '|' || data::text || '|' || status FROM outbox_events WHERE event_source = $1", pg::Params("scenario/" + id)),
            "note|application/vnd.note+json|\"käse\"|pending");
}

TEST_P(Outbox, WhatCannotBeStoredFailsTheWorkflowThatSendsIt) {
  const Json error = expect_failed(start("bad_event"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("event note"));
}

TEST_P(Outbox, AnApplicationsEventLeavesWithItsTransaction) {
  sql("BEGIN");
  sql("SELECT add_outbox_event('paid', 'app', '1', $1)", pg::Params(mine("never")));
  sql("ROLLBACK");
  sql("SELECT add_outbox_event('paid', 'app', '1', $1)", pg::Params(mine("sent")));
  EXPECT_EQ(one("SELECT string_agg(event_id, ',') FROM outbox_events WHERE event_id ^@ $1", pg::Params(prefix())), mine("sent"));
}

TEST_P(Outbox, TheSameEventIdTwiceIsTheFirstEvent) {
  EXPECT_EQ(one("SELECT add_outbox_event('paid', 'app', '1', $1)", pg::Params(mine("e"))), mine("e"));
  EXPECT_EQ(one("SELECT add_outbox_event('paid', 'app', '2', $1)", pg::Params(mine("e"))), mine("e"));
  EXPECT_EQ(one("SELECT data::text FROM outbox_events WHERE event_id = $1", pg::Params(mine("e"))), "1");
}

TEST_P(Outbox, BadEventsAreRefusedByName) {
  EXPECT_THAT(refused("SELECT add_outbox_event('', 'app', '1')"), HasSubstr("22023 event_type: "));
  EXPECT_THAT(refused("SELECT add_outbox_event('x', NULL, '1')"), HasSubstr("22023 event_source: "));
  EXPECT_THAT(refused("SELECT add_outbox_event('x', 'app', NULL)"), HasSubstr("22023 data: "));
  EXPECT_THAT(refused("SELECT add_outbox_event('x', 'app', '1', content_type => '')"), HasSubstr("22023 content_type: "));
}

}  // namespace
}  // namespace romancy::test
