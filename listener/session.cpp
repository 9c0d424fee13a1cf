#include "listener/session.hpp"

#include <cmath>
#include <utility>

#include "common/base/check.hpp"
#include "common/base/ids.hpp"
#include "common/base/log.hpp"
#include "common/base/test_point.hpp"
#include "common/proc/config.hpp"
#include "common/proc/hub_client.hpp"

namespace romancy::listener {
namespace {

constexpr const char* kKinds[] = {proc::kWorkflowResumable, proc::kTimerExpired, proc::kChannelMessage,
                                  proc::kOutboxPending, proc::kActivityTask};
constexpr std::int64_t kChannels = std::size(kKinds) + 1;  // and the heartbeat's

// Channel names are made of the schema's name, [a-z_][a-z0-9_]* of at most 44 bytes (config.hpp), and ours: nothing
// in them needs quoting, and they stay below PostgreSQL's 64 bytes.
std::string new_heartbeat_channel(const std::string& schema) {
  return schema + "_heartbeat_" + random_uuid().substr(0, 8);
}

}  // namespace

Session::Session(io::Loop& loop, SessionOptions options, Handlers handlers, proc::Slot slot)
    : loop_(loop),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      slot_(slot),
      backoff_(options_.reconnect_delay, options_.reconnect_delay_max),
      due_(loop, [this] { handle(SessionEvent::Due); }),
      overdue_(loop, [this] { late(); }) {}

void Session::start() { handle(SessionEvent::StartAsked); }

void Session::stop() { handle(SessionEvent::StopAsked); }

void Session::handle(SessionEvent event, std::string_view detail) {
  const SessionState from = state_;
  const SessionTransition transition = step(from, event);
  if (transition.to != from) enter(transition.to);
  perform(transition.effect, from, detail);
}

void Session::enter(SessionState next) {
  log::debug("session", {{"from", name_of(state_)}, {"to", name_of(next)}});
  state_ = next;
  due_.cancel();
  overdue_.cancel();
  slot_.live(next == SessionState::Live);
  if (next == SessionState::Live) slot_.trouble(Trouble::none);
}

void Session::perform(SessionEffect effect, SessionState from, std::string_view detail) {
  switch (effect) {
    case SessionEffect::none:
    case SessionEffect::deliver: return;  // take() delivers: it has the notification
    case SessionEffect::connect: return connect();
    case SessionEffect::listen: return listen();
    case SessionEffect::prove: return prove();
    case SessionEffect::announce: return announce();
    case SessionEffect::rest: return due_.set_in(options_.heartbeat_interval);
    case SessionEffect::give_up: return give_up(from == SessionState::Live, detail);
    case SessionEffect::close:
      ++attempt_;
      outside_.reset();
      if (conn_) conn_->close();
      return;
    case SessionEffect::abort: break;
  }
  broken("an event of the session that cannot happen", name_of(from));
}

pg::ConnOptions Session::conn_options() const {
  pg::ConnOptions options;
  options.conninfo = options_.conninfo;
  options.application_name = "romancy-listener";
  options.schema = options_.schema;
  options.connect_timeout = options_.connect_timeout;
  // A session that only listens is idle for ever: no idle time-out may end it.
  options.set = {{"statement_timeout", "5s"}, {"idle_session_timeout", "0"}};
  options.pipeline = false;  // an open pipeline holds notifications back until its Sync
  return options;
}

void Session::connect() {
  const std::uint64_t mine = ++attempt_;
  heartbeat_channel_ = new_heartbeat_channel(options_.schema);
  beat_under_way_ = false;
  trouble_ = Trouble::none;
  heard_at_ = {};
  outside_.reset();
  conn_ = std::make_unique<pg::Conn>(
      loop_, conn_options(),
      pg::Conn::Handlers{.on_up =
                             [this, mine] {
                               if (mine != attempt_) return;
                               if (++ups_ > 1) slot_.add(proc::Counter::reconnects);
                               handle(SessionEvent::Up);
                             },
                         .on_down =
                             [this, mine](const Error& error) {
                               if (mine != attempt_) return;
                               const std::string code = error.sqlstate.empty() ? "" : " (" + error.sqlstate + ")";
                               give_up_because(SessionEvent::Down, Trouble::away, error.text + code);
                             },
                         .on_notification =
                             [this, mine](const pg::Notification& notification) {
                               if (mine == attempt_) take(notification);
                             }});
  conn_->open();
}

void Session::listen() {
  awaited_ = Awaited::listen;
  overdue_.set_in(options_.heartbeat_timeout);
  const std::uint64_t mine = attempt_;
  // In one statement: one transaction, so that all channels are heard from one moment on (the resync comes after it), and
  // one round trip, because until this is over everybody polls.
  std::string listens;
  for (const char* kind : kKinds) listens += "LISTEN " + options_.schema + "_" + kind + "; ";
  listens += "LISTEN " + heartbeat_channel_ + "; ";
  conn_->query_text("DO $$BEGIN " + listens + "END$$", [this, mine](const Result<pg::Rows>& rows) {
    if (mine != attempt_) return;
    if (!rows) return failed(rows.error());
    static_cast<void>(ROMANCY_TEST_POINT("listener.listen.after"));
    handle(SessionEvent::Listening);
  });
}

// First the question, then the notification: one that comes back proves both.
void Session::prove() {
  beat_under_way_ = true;
  overdue_.set_in(options_.heartbeat_timeout);
  ask_about_ourselves();
}

void Session::ask_about_ourselves() {
  awaited_ = Awaited::look;
  const std::uint64_t mine = attempt_;
  conn_->query_text("SELECT pg_is_in_recovery(), count(*), pg_backend_pid(), (pg_notification_queue_usage() * 10000)::int"
                    "  FROM pg_listening_channels()",
                    [this, mine](const Result<pg::Rows>& rows) {
                      if (mine != attempt_) return;
                      if (!rows) return failed(rows.error());
                      const Trouble found = look(rows->boolean(0, 0), rows->int64(0, 1), kChannels);
                      if (found != Trouble::none) return give_up_because(SessionEvent::Failed, found);
                      watch_queue(static_cast<double>(rows->int64(0, 3)) / 10000);
                      relayed_ = relayed(conn_->backend_pid(), rows->int32(0, 2));
                      if (relayed_) notify_from_outside();
                      else notify_ourselves();
                    });
}

void Session::notify_ourselves() {
  awaited_ = Awaited::notify;
  if (!overdue_.armed()) overdue_.set_in(options_.heartbeat_timeout);  // the answer came in the turn of the alarm
  beat_sent_ = std::chrono::steady_clock::now();
  const std::uint64_t mine = attempt_;
  conn_->query_text("NOTIFY " + heartbeat_channel_ + ", '" + std::to_string(++beat_) + "'",
                    [this, mine](const Result<pg::Rows>& rows) {
                      if (mine != attempt_) return;
                      if (!rows) return failed(rows.error());
                      awaited_ = Awaited::echo;
                    });
}

void Session::notify_from_outside() {
  awaited_ = Awaited::outside;
  if (!overdue_.armed()) overdue_.set_in(options_.heartbeat_timeout);
  ++beat_;
  const std::uint64_t mine = attempt_;
  outside_ = std::make_unique<pg::Conn>(
      loop_, conn_options(),
      pg::Conn::Handlers{
          .on_up =
              [this, mine] {
                if (mine != attempt_ || !beat_under_way_) return;
                beat_sent_ = std::chrono::steady_clock::now();
                outside_->query_text("NOTIFY " + heartbeat_channel_ + ", '" + std::to_string(beat_) + "'",
                                     [this, mine](const Result<pg::Rows>& rows) {
                                       if (mine != attempt_) return;
                                       // The notification may have been faster than this answer.
                                       if (beat_under_way_ && !rows) return no_outside(rows.error().text);
                                       if (beat_under_way_) awaited_ = Awaited::outside_echo;
                                       outside_.reset();
                                     });
              },
          .on_down =
              [this, mine](const Error& error) {
                if (mine == attempt_ && beat_under_way_) no_outside(error.text);
              },
          .on_notification = {}});
  outside_->open();
}

void Session::no_outside(std::string_view text) {
  give_up_because(SessionEvent::Failed, Trouble::away,
                  "no second connection, which proves that notifications pass what stands between us and the server: " +
                      std::string(text));
}

void Session::watch_queue(double usage) {
  const auto percent = std::lround(usage * 100);
  slot_.set(proc::Counter::notify_queue_percent, static_cast<std::uint64_t>(percent));
  const QueueFill was = std::exchange(fill_, queue_fill(fill_, usage));
  if (fill_ == was) return;
  const std::string full = std::to_string(percent) + "%";
  switch (fill_) {
    case QueueFill::low: return log::info("PostgreSQL's notification queue has emptied", {{"full", full}});
    case QueueFill::high:
      return log::warn("PostgreSQL's notification queue fills: a session that listens stands in a transaction, or does not read",
                       {{"full", full}});
    case QueueFill::critical:
      return log::error("PostgreSQL's notification queue is nearly full: when it is, whatever notifies fails at its commit. "
                        "End the session that listens and stands in a transaction, or does not read",
                        {{"full", full}});
  }
}

void Session::announce() {
  backoff_.reset();
  due_.set_in(options_.heartbeat_interval);
  log::info("PostgreSQL LISTEN/NOTIFY connection established", {{"backend_pid", conn_->backend_pid()}, {"pooler", relayed_}});
  handlers_.on_live(++lives_ == 1);
}

void Session::give_up(bool was_live, std::string_view why) {
  ++attempt_;
  outside_.reset();
  slot_.trouble(trouble_);
  conn_->close();  // destroyed by the next connect(), which is never called from within its callbacks
  const auto delay = backoff_.next();
  log::warn(was_live ? "LISTEN/NOTIFY connection lost, reconnecting" : "LISTEN/NOTIFY connection failed, reconnecting",
            {{"error", why}, {"trouble", name_of(trouble_)}, {"reconnect_delay", proc::format_duration(delay)}});
  due_.set_in(delay);
  handlers_.on_down(was_live, why);
}

void Session::failed(const Error& error) {
  if (!conn_->up()) return;  // lost: on_down comes next, with the reason alone
  const Trouble found = refusal(error.sqlstate);
  std::string text = explain(found, awaited_, {});
  if (!text.empty()) text += ": ";
  give_up_because(SessionEvent::Failed, found, text + error.text);
}

// What came in this very turn still counts: a process that was stopped for a while finds its alarm and its answer
// side by side.
void Session::late() {
  const std::uint64_t mine = attempt_;
  loop_.at_turn_end([this, mine, alive = std::weak_ptr<char>(alive_)] {
    if (alive.expired() || mine != attempt_ || overdue_.armed()) return;
    if (state_ == SessionState::Live && !beat_under_way_) return;
    // A burst of hints that takes longer than the deadline stands before the answer: what arrives proves that more can.
    const auto silent_from = heard_at_ + options_.heartbeat_timeout;
    if (silent_from > std::chrono::steady_clock::now()) return overdue_.set_at(silent_from);
    give_up_because(SessionEvent::Overdue, overdue(awaited_, conn_->acknowledged()));
  });
}

void Session::give_up_because(SessionEvent event, Trouble trouble, std::string_view text) {
  trouble_ = trouble;
  handle(event, text.empty() ? explain(trouble, awaited_, proc::format_duration(options_.heartbeat_timeout))
                             : std::string(text));
}

void Session::take(const pg::Notification& notification) {
  std::string_view channel = notification.channel;
  if (channel == heartbeat_channel_) {
    if (!beat_under_way_ || notification.payload != std::to_string(beat_)) return;
    beat_under_way_ = false;
    overdue_.cancel();
    slot_.record(proc::Histogram::heartbeat_time, std::chrono::steady_clock::now() - beat_sent_);
    return handle(SessionEvent::Proved);
  }
  heard_at_ = std::chrono::steady_clock::now();
  handle(SessionEvent::Hint);
  if (!live()) return;  // the resync on entering Live covers it
  channel.remove_prefix(options_.schema.size() + 1);  // we LISTEN on <schema>_<kind> only
  handlers_.on_hint(channel, notification.payload);
}

}  // namespace romancy::listener
