#include "resumer/run_store.hpp"

#include <utility>

#include "common/base/json.hpp"
#include "common/base/test_point.hpp"
#include "sql/resumer.hpp"

namespace romancy::resumer {
namespace {

// A value of an answer's JSON back to text; SQL NULL inside it is the empty text, not "null".
std::string text_of(const Json& value) { return value.is_null() ? std::string() : dump_json(value); }
std::string name_of(const Json& value) { return value.is_string() ? value.get<std::string>() : std::string(); }

std::string micros(std::chrono::milliseconds value) { return std::to_string(value.count()) + " milliseconds"; }

std::optional<std::string> or_null(const std::string& text) { return text.empty() ? std::nullopt : std::optional(text); }

// An answer of ours that does not parse is a bug of ours, whatever the parser called it.
template <class T>
Result<T> ours(Result<T> parsed) {
  if (!parsed) parsed.error().kind = ErrorKind::bug;
  return parsed;
}

// What commit_runs is told instead of a status by a run that continues as new.
constexpr int kRecurred = 7;

constexpr JsonCaps kAnswerCaps{.bytes = 1u << 30, .depth = 256};

}  // namespace

Result<std::vector<InboxRow>> parse_inbox(std::string_view json) {
  std::vector<InboxRow> rows;
  if (json.empty()) return rows;
  auto parsed = parse_json(json, "inbox", kAnswerCaps);
  if (!parsed) return tl::unexpected(parsed.error());
  rows.reserve(parsed->size());
  for (const Json& r : *parsed) {
    if (!r.is_array() || r.size() != 7) return bug("inbox: a row is not an array of 7");
    InboxRow row;
    row.id = r[0].get<std::int64_t>();
    row.kind = static_cast<InboxKind>(r[1].get<int>());
    row.op = r[2].is_null() ? 0 : r[2].get<int>();
    row.name = name_of(r[3]);
    row.data = text_of(r[4]);
    row.metadata = text_of(r[5]);
    row.message_id = r[6].is_null() ? 0 : r[6].get<std::int64_t>();
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::vector<HistoryRow>> parse_history(std::string_view json) {
  std::vector<HistoryRow> rows;
  if (json.empty()) return rows;
  auto parsed = parse_json(json, "history", kAnswerCaps);
  if (!parsed) return tl::unexpected(parsed.error());
  rows.reserve(parsed->size());
  for (const Json& r : *parsed) {
    if (!r.is_array() || r.size() != 5) return bug("history: a row is not an array of 5");
    rows.push_back({r[0].get<std::int64_t>(), r[1].get<int>(), static_cast<HistoryKind>(r[2].get<int>()),
                    name_of(r[3]), text_of(r[4])});
  }
  return rows;
}

void RunStore::start_session(std::int64_t session, const std::string& worker, const std::vector<std::string>& queues,
                             const std::vector<std::string>& workflows, std::chrono::milliseconds timeout,
                             const std::vector<std::int64_t>& former, Reply<std::vector<Route>> reply) {
  conn_.query(sql::resumer::start_session,
              pg::Params(session, worker, "resumer", queues, workflows, micros(timeout), former, or_null(version_)),
              [reply = std::move(reply)](Result<pg::Rows> rows) {
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("start_session")));
                std::vector<Route> routes;
                for (int i = 0; i < rows->size(); ++i) {
                  routes.push_back({rows->int64(i, 0), rows->str(i, 1), rows->str(i, 2)});
                }
                reply(std::move(routes));
              });
}

void RunStore::heartbeat(std::int64_t session, std::chrono::milliseconds timeout,
                         const std::vector<std::string>& in_flight, Reply<Beat> reply) {
  conn_.query(sql::resumer::heartbeat_session, pg::Params(session, micros(timeout), in_flight),
              [reply = std::move(reply)](Result<pg::Rows> rows) {
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("heartbeat_session")));
                Beat beat;
                beat.alive = rows->boolean(0, 0);
                // to_jsonb(text[]) in the query: an array of ids
                if (!rows->is_null(0, 1)) {
                  auto ids = ours(parse_json(rows->text(0, 1), "cancelled"));
                  if (!ids) return reply(tl::unexpected(ids.error()));
                  for (const Json& id : *ids) beat.cancelled.push_back(id.get<std::string>());
                }
                reply(std::move(beat));
              });
}

void RunStore::end_session(std::int64_t session, Reply<void> reply) {
  conn_.query(sql::resumer::end_session, pg::Params(session, false, false),
              [reply = std::move(reply)](Result<pg::Rows> rows) {
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("end_session")));
                reply({});
              });
}

void RunStore::claim(std::int64_t session, const std::vector<std::int64_t>& routes, const std::vector<std::string>& marks,
                     int want, int inbox_limit, Reply<Claim> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("resumer.claim.before"));
  conn_.query(sql::resumer::claim_runs, pg::Params(session, routes, marks, want, inbox_limit),
              [reply = std::move(reply)](Result<pg::Rows> rows) {
                if (rows && rows->size() > 1) static_cast<void>(ROMANCY_TEST_POINT("resumer.claim.after"));
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("claim_runs")));
                enum { kId, kName, kToken, kGeneration, kStatus, kFresh, kCrashes, kLeft, kInbox, kHistory, kClock, kCreated, kFirst };
                Claim claim;
                for (int i = 0; i < rows->size(); ++i) {
                  if (rows->is_null(i, kId)) {  // the last row: the summary
                    auto summary = ours(parse_json(rows->text(i, kInbox), "claim summary"));
                    if (!summary) return reply(tl::unexpected(summary.error()));
                    claim.over = summary->value("over", false);
                    claim.skipped = summary->value("skipped", 0);
                    if (const auto again = summary->find("again_us"); again != summary->end() && again->is_number_integer())
                      claim.again_us = again->get<std::int64_t>();
                    claim.more = summary->value("more", false);
                    if (summary->contains("marks") && (*summary)["marks"].is_array()) {
                      for (const Json& mark : (*summary)["marks"]) claim.marks.push_back(mark.get<std::string>());
                    }
                    continue;
                  }
                  Claimed run;
                  run.instance_id = rows->str(i, kId);
                  run.workflow_name = rows->str(i, kName);
                  run.token = rows->int64(i, kToken);
                  run.generation = rows->int32(i, kGeneration);
                  run.status = static_cast<Status>(rows->int32(i, kStatus));
                  run.fresh = rows->boolean(i, kFresh);
                  run.crashes = rows->int32(i, kCrashes);
                  run.left_behind = rows->boolean(i, kLeft);
                  // jsonb holds what our parser refuses (1e400, say). The lease is ours already: only this run may suffer.
                  if (auto inbox = parse_inbox(rows->is_null(i, kInbox) ? std::string_view() : rows->text(i, kInbox))) {
                    run.inbox = std::move(*inbox);
                  } else {
                    run.unreadable = inbox.error().text;
                  }
                  if (auto history = parse_history(rows->is_null(i, kHistory) ? std::string_view() : rows->text(i, kHistory))) {
                    run.history = std::move(*history);
                  } else {
                    run.unreadable = history.error().text;
                  }
                  claim.clock_us = rows->int64(i, kClock);
                  run.created_us = rows->int64(i, kCreated);
                  run.first_generation = rows->int32(i, kFirst);
                  claim.runs.push_back(std::move(run));
                }
                reply(std::move(claim));
              });
}

void RunStore::commit(std::int64_t session, const std::vector<const CommitItem*>& items, int inbox_limit,
                      Reply<std::vector<Committed>> reply) {
  static_cast<void>(ROMANCY_TEST_POINT("resumer.commit.before"));
  conn_.query(sql::resumer::commit_runs, commit_params(session, items, inbox_limit, version_),
              [reply = std::move(reply), size = items.size()](Result<pg::Rows> rows) {
                static_cast<void>(ROMANCY_TEST_POINT("resumer.commit.after"));
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("commit_runs")));
                std::vector<Committed> answers(size);
                for (int i = 0; i < rows->size(); ++i) {
                  const int position = rows->int32(i, 0);
                  if (position < 1 || static_cast<std::size_t>(position) > size) {
                    return reply(bug("commit_runs: answered for run " + std::to_string(position)));
                  }
                  Committed& answer = answers[static_cast<std::size_t>(position - 1)];
                  answer.accepted = rows->boolean(i, 1);
                  answer.released = rows->boolean(i, 2);
                  if (auto inbox = parse_inbox(rows->is_null(i, 3) ? std::string_view() : rows->text(i, 3))) {
                    answer.inbox = std::move(*inbox);
                  } else {
                    answer.unreadable = inbox.error().text;
                  }
                  answer.clock_us = rows->int64(i, 4);
                }
                reply(std::move(answers));
              });
}

void RunStore::read_history(const std::string& instance_id, Reply<std::vector<HistoryRow>> reply) {
  conn_.query(sql::resumer::read_history, pg::Params(instance_id), [reply = std::move(reply)](Result<pg::Rows> rows) {
    if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("read_history")));
    reply(ours(parse_history(rows->is_null(0, 0) ? std::string_view() : rows->text(0, 0))));
  });
}

void RunStore::read_seen(std::int64_t session, const CommitItem& lease, const std::string& channel,
                         std::int64_t after_id, int max, Reply<std::vector<InboxRow>> reply) {
  conn_.query(sql::resumer::read_seen, pg::Params(session, lease.instance_id, lease.token, channel, after_id, max),
              [reply = std::move(reply)](Result<pg::Rows> rows) {
                if (!rows) return reply(tl::unexpected(std::move(rows.error()).within("read_seen")));
                reply(ours(parse_inbox(rows->is_null(0, 0) ? std::string_view() : rows->text(0, 0))));
              });
}

pg::Params commit_params(std::int64_t session, const std::vector<const CommitItem*>& items, int inbox_limit,
                         const std::string& version) {
  using Text = std::vector<std::string>;
  using Int = std::vector<int>;
  using Big = std::vector<std::int64_t>;
  Text ids;
  Big tokens;
  Int statuses;
  std::vector<bool> releases;
  std::vector<std::optional<std::string>> notes;
  struct { Int run; Big seq; Int op, kind; Text name, data; } h;
  struct { Int run; Big id; } consumed, seen, back;
  struct { Int run, op, kind; std::vector<std::optional<std::int64_t>> after; std::vector<std::optional<std::string>> at; } t;
  struct { Int run, op; } over;
  struct { Int run, op; Text channel; } w;
  struct { Int run, op; Text channel; std::vector<bool> on; Int mode; } sub;
  struct { Int run; Text name; std::vector<bool> on; } g;
  struct { Int run; Text channel, data, metadata; std::vector<std::optional<std::string>> target, group; } m;
  struct { Int run; Text event_id, type, source, data, content_type; } o;
  struct { Int run, op; Text id, workflow, queue, input; std::vector<bool> follows; Text lane; } c;
  struct { Int run; Text id, reason; } cancel;
  struct { Int run; Text value; } p;
  struct { Int run, op; Text activity, queue, input, key, policy; } q;
  struct { Int run, op; std::vector<bool> wanted; } stop;

  int run = 0;
  for (const CommitItem* item : items) {
    ++run;
    const Output& out = item->output;
    ids.push_back(item->instance_id);
    tokens.push_back(item->token);
    statuses.push_back(out.recur ? kRecurred : static_cast<int>(out.status));
    releases.push_back(out.release);
    const std::string& note = item->note.empty() ? out.note : item->note;
    notes.push_back(note.empty() ? std::nullopt : std::optional(note));
    for (const HistoryRow& row : out.history) {
      h.run.push_back(run);
      h.seq.push_back(row.seq);
      h.op.push_back(row.op);
      h.kind.push_back(static_cast<int>(row.kind));
      h.name.push_back(row.name);
      h.data.push_back(row.data.empty() ? "null" : row.data);
    }
    for (const auto id : out.consumed) consumed.run.push_back(run), consumed.id.push_back(id);
    for (const auto id : out.seen) seen.run.push_back(run), seen.id.push_back(id);
    for (const auto id : out.given_back) back.run.push_back(run), back.id.push_back(id);
    for (const TimerStart& timer : out.timers) {
      t.run.push_back(run);
      t.op.push_back(timer.op);
      t.kind.push_back(static_cast<int>(timer.kind));
      t.after.push_back(timer.after ? std::optional(static_cast<std::int64_t>(timer.after->count())) : std::nullopt);
      t.at.push_back(timer.at);
    }
    for (const auto op : out.timers_over) over.run.push_back(run), over.op.push_back(op);
    for (const MessageWait& wait : out.waits) {
      w.run.push_back(run);
      w.op.push_back(wait.op);
      w.channel.push_back(wait.channel);
    }
    for (const SubscriptionChange& change : out.subscriptions) {
      sub.run.push_back(run);
      sub.op.push_back(change.op);
      sub.channel.push_back(change.channel);
      sub.on.push_back(change.on);
      sub.mode.push_back(static_cast<int>(change.mode));
    }
    for (const GroupChange& change : out.groups) {
      g.run.push_back(run);
      g.name.push_back(change.group);
      g.on.push_back(change.on);
    }
    for (const Outgoing& message : out.messages) {
      m.run.push_back(run);
      m.channel.push_back(message.channel);
      m.data.push_back(message.data);
      m.metadata.push_back(message.metadata.empty() ? "{}" : message.metadata);
      m.target.push_back(message.target);
      m.group.push_back(message.group);
    }
    for (const OutboxRow& event : out.outbox) {
      o.run.push_back(run);
      o.event_id.push_back(event.event_id);
      o.type.push_back(event.type);
      o.source.push_back(event.source);
      o.data.push_back(event.data);
      o.content_type.push_back(event.content_type);
    }
    for (const ChildStart& child : out.children) {
      c.run.push_back(run);
      c.op.push_back(child.op);
      c.id.push_back(child.id);
      c.workflow.push_back(child.workflow);
      c.queue.push_back(child.queue);
      c.input.push_back(child.input.empty() ? "null" : child.input);
      c.follows.push_back(child.follows);
      c.lane.push_back(child.lane);
    }
    for (const TaskStart& task : out.tasks) {
      q.run.push_back(run);
      q.op.push_back(task.op);
      q.activity.push_back(task.activity);
      q.queue.push_back(task.queue);
      q.input.push_back(task.input.empty() ? "null" : task.input);
      q.key.push_back(task.key);
      q.policy.push_back(task.policy);
    }
    for (const TaskStop& one : out.task_stops) {
      stop.run.push_back(run);
      stop.op.push_back(one.op);
      stop.wanted.push_back(one.wanted);
    }
    for (const CancelRequest& request : out.cancels) {
      cancel.run.push_back(run);
      cancel.id.push_back(request.id);
      cancel.reason.push_back(request.reason);
    }
    if (out.progress) p.run.push_back(run), p.value.push_back(*out.progress);
  }
  return pg::Params(session, ids, tokens, statuses, releases, notes,                       //
                    h.run, h.seq, h.op, h.kind, h.name, h.data,                            //
                    consumed.run, consumed.id, seen.run, seen.id, back.run, back.id,       //
                    t.run, t.op, t.kind, t.after, t.at, over.run, over.op,                 //
                    w.run, w.op, w.channel,                                                //
                    sub.run, sub.op, sub.channel, sub.on, sub.mode,                        //
                    g.run, g.name, g.on,                                                   //
                    m.run, m.channel, m.data, m.metadata, m.target, m.group,               //
                    o.run, o.event_id, o.type, o.source, o.data, o.content_type,             //
                    c.run, c.op, c.id, c.workflow, c.queue, c.input, c.follows, c.lane,    //
                    cancel.run, cancel.id, cancel.reason, p.run, p.value,                               //
                    q.run, q.op, q.activity, q.queue, q.input, q.key, q.policy,                            //
                    stop.run, stop.op, stop.wanted, inbox_limit, or_null(version));
}

}  // namespace romancy::resumer
