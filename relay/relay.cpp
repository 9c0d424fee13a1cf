#include "relay/relay.hpp"

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

#include "common/base/backoff.hpp"
#include "common/base/ids.hpp"
#include "common/base/log.hpp"
#include "common/io/alarm.hpp"
#include "common/pg/kept_conn.hpp"
#include "common/proc/hub_client.hpp"
#include "common/proc/inherited.hpp"
#include "common/proc/sweeper.hpp"
#include "relay/delivery.hpp"
#include "relay/ledger.hpp"
#include "relay/outbox_store.hpp"
#include "relay/sink_http.hpp"

namespace romancy::relay {
namespace {

using namespace std::chrono_literals;
using proc::Counter;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kExitBug = 70;  // EX_SOFTWARE: a crash, for the supervisor
constexpr std::size_t kMostFormer = 64;
constexpr auto kTellAgain = 500ms;  // after the database could not take an outcome, although it is there

class Relay final : public proc::Service {
 public:
  explicit Relay(proc::Process& process)
      : process_(process),
        config_(process.config()),
        slot_(process.slot()),
        conn_(process.loop(), conn_options(), Backoff(config_.reconnect_delay, config_.reconnect_delay_max),
              {.on_up = [this] { on_up(); },
               .on_down = [this](const Error& error) { on_down(error); },
               .on_notification = {}}),
        store_(conn_.conn()),
        sink_(process.loop(), {.url = config_.sink_url, .timeout = config_.delivery_timeout, .parallel = parallel()}),
        sweeper_(process.loop(), {.poll = config_.outbox_interval, .fallback = config_.fallback_interval, .spread = config_.gap_spread},
                 [this](proc::Why why) { look(why); }),
        heartbeat_(process.loop(), [this] { heartbeat(); }),
        schema_again_(process.loop(), [this] { check_schema(); }),
        tell_again_(process.loop(), [this] { proceed(); }),
        hub_(process.loop(), config_.hub_path(),
             {.role = "relay", .group = "relay", .channels = {proc::kOutboxPending}, .session = std::nullopt},
             {.on_wake = [this](std::string_view, std::string_view) { sweeper_.hint(); },
              .on_resync = [this](std::string_view why) { on_resync(why); },
              .on_live = [this](bool live) { on_live(live); },
              .on_gone = {}}) {}

  void start() override {
    if (!has_sink()) {
      log::warn("no_sink", {{"why", "relay.url is empty"}, {"effect", "events stay in the outbox"}});
    } else if (const auto fits = check_sink_url(config_.sink_url); !fits) {
      log::error("sink_refused", {{"error", fits.error().text}});
      return process_.finish(proc::kExitConfig);
    }
    conn_.open();
  }

  void drain(std::function<void()> done) override {
    draining_ = true;
    drained_ = std::move(done);
    sweeper_.stop();
    hub_.stop();
    ledger_.session_over();  // end_session makes what was not sent due again
    proceed();
  }

 private:
  pg::ConnOptions conn_options() const {
    pg::ConnOptions options;
    options.conninfo = config_.conninfo;
    options.application_name = "romancy-relay";
    options.schema = config_.schema;
    options.connect_timeout = config_.connect_timeout;
    options.set = pg::worker_settings();
    return options;
  }

  [[nodiscard]] bool has_sink() const { return !config_.sink_url.empty(); }
  [[nodiscard]] int parallel() const { return std::max(1, config_.delivery_parallel); }
  [[nodiscard]] std::size_t room() const { return static_cast<std::size_t>(std::max(1, config_.max_outbox)); }

  // Long enough for a full claim of which every delivery times out. It bounds the wait only where nobody ends the
  // session of a dead relay.
  [[nodiscard]] milliseconds hold() const {
    const int rounds = (static_cast<int>(room()) + parallel() - 1) / parallel();
    return config_.delivery_timeout * (rounds + 2);
  }

  // --- the database comes and goes -----------------------------------------------------------------------------------

  void on_up() {
    if (was_up_) slot_.add(Counter::reconnects);
    was_up_ = true;
    check_schema();
  }

  void check_schema() {
    store_.check_schema([this](const Result<void>& fits) { on_schema(fits); });
  }

  void on_schema(const Result<void>& fits) {
    if (draining_) return proceed();
    if (!fits && fits.error().kind == ErrorKind::retry) {
      log::warn("schema_not_read", {{"error", fits.error().text}});
      if (conn_.up()) schema_again_.set_in(1s);  // else on_up comes again
      return;
    }
    if (!fits) {
      log::error("schema_refused", {{"schema", config_.schema}, {"error", fits.error().text}});
      return process_.finish(proc::kExitConfig);
    }
    log::info("database_connected", {{"schema", config_.schema}, {"pid", conn_.conn().backend_pid()}});
    if (has_sink()) return begin_session();
    process_.ready();
    if (process_.once()) process_.finish(proc::kExitOk);
  }

  void on_down(const Error& error) {
    process_.not_ready("the database is away: " + error.text);
    leave_session();
    schema_again_.cancel();
    if (draining_) return proceed();
    if (process_.once()) {
      log::error("database_away", {{"error", error.text}});
      return process_.finish(proc::kExitDatabase);
    }
    log::warn("database_away", {{"error", error.text}});
  }

  // --- the session ---------------------------------------------------------------------------------------------------

  void begin_session() {
    tell();  // under the old session, before the next statement ends it
    const std::int64_t session = random_session_id();
    if (sessions_.size() >= kMostFormer) sessions_.erase(sessions_.begin());  // its time-out ends it
    const std::vector<std::int64_t> former = sessions_;
    sessions_.push_back(session);  // from now on it may exist
    store_.start_session(session, process_.component(), config_.session_timeout, former,
                         [this, session](const Result<void>& started) { on_session(session, started); });
  }

  void on_session(std::int64_t session, const Result<void>& started) {
    if (!started) {
      if (started.error().kind != ErrorKind::retry) std::erase(sessions_, session);  // it certainly does not exist
      if (conn_.up() && !draining_) schema_again_.set_in(1s);
      on_error(started.error());
      return proceed();
    }
    sessions_ = {session};
    session_ = session;
    if (draining_) return proceed();
    log::info("session_started", {{"session", session}});
    process_.ready();
    heartbeat_.set_in(config_.session_timeout / 3);
    sweeper_.start();
    if (process_.once()) return;
    hub_.session(session);
    if (config_.listener != proc::Listening::off) hub_.start();
  }

  // What was claimed and not sent is not ours any more. What is being sent may still be told, under its own session.
  void leave_session() {
    session_ = 0;
    heartbeat_.cancel();
    sweeper_.stop();
    ledger_.session_over();
  }

  void heartbeat() {
    heartbeat_.set_in(config_.session_timeout / 3);
    const std::int64_t session = session_;
    store_.heartbeat(session, config_.session_timeout, [this, session](const Result<bool>& alive) {
      if (!alive) {
        on_error(alive.error());
      } else if (!*alive && session == session_ && !draining_) {
        log::warn("session_lost", {{"session", session}});
        leave_session();
        begin_session();
      }
      proceed();
    });
  }

  // --- what the hub says ---------------------------------------------------------------------------------------------

  void on_resync(std::string_view why) {
    slot_.add(Counter::resyncs);
    sweeper_.resync(why);
  }

  void on_live(bool live) {
    slot_.live(live);
    sweeper_.live(live);
  }

  // --- claim, send, tell ---------------------------------------------------------------------------------------------

  void look(proc::Why why) {
    if (why == proc::Why::hint) slot_.add(Counter::wakes_notified);
    if (why == proc::Why::poll && Clock::now() < next_due_) slot_.add(Counter::wakes_swept);
    next_due_ = Clock::time_point::max();
    const std::size_t in_hand = ledger_.in_hand();
    crowded_ = in_hand > room() / 2;  // claims of a few are not worth a transaction; proceed() comes back
    if (session_ == 0 || crowded_) return sweeper_.done(false);
    const int want = static_cast<int>(room() - in_hand);
    const std::int64_t session = session_;
    const auto send_before = Clock::now() + hold() - config_.delivery_timeout;
    store_.claim(session, want, hold(), [this, session, want, send_before](Result<std::vector<Event>> events) {
      claimed_.reset();
      if (!events) return on_error(events.error());
      if (session != session_ || draining_) return;  // they are due again when that session ends
      claimed_ = static_cast<int>(events->size());
      full_ = *claimed_ >= want;
      ledger_.claimed(std::move(*events), session, send_before);
    });
    store_.next([this](const Result<std::optional<std::int64_t>>& next) { end_look(next); });
  }

  void end_look(const Result<std::optional<std::int64_t>>& next) {
    const bool full = std::exchange(full_, false);
    sweeper_.done(full);
    if (!next) {
      on_error(next.error());
    } else if (*next) {
      // Due, pending, and not claimed: another relay holds the row. It is tried again, a little later each time.
      const bool overdue = **next <= 0 && claimed_.value_or(0) == 0;
      if (!overdue) locked_.reset();
      const std::chrono::microseconds wait =
          overdue ? locked_.next() : std::chrono::microseconds(std::max<std::int64_t>(**next, 0));
      look_in(wait);
    }
    if (process_.once() && claimed_ && !full) nothing_due_ = true;
    proceed();
  }

  void look_in(std::chrono::microseconds wait) {
    wait = std::min<std::chrono::microseconds>(wait, 24h);
    next_due_ = std::min(next_due_, Clock::now() + wait);
    sweeper_.look_in(wait);
  }

  void send_waiting() {
    while (sink_.under_way() < static_cast<std::size_t>(parallel())) {
      auto entry = ledger_.take(Clock::now());
      if (!entry) return;
      auto message = to_message(entry->event);
      if (!message) {
        outcome(*entry, {.fate = Fate::given_up, .wait = {}, .why = message.error().text});
        continue;
      }
      sink_.send(std::move(*message), [this, entry = std::move(*entry)](const Answer& answer,
                                                                        std::chrono::nanoseconds took) {
        slot_.record(proc::Histogram::delivery_time, took);
        const RetryRule rule{config_.delivery_retry, config_.delivery_retry_max, config_.delivery_attempts};
        outcome(entry, judge(answer, entry.event.attempt, rule, std::uniform_real_distribution<double>(0, 1)(rng_)));
        proceed();
      });
    }
  }

  void outcome(const Ledger::Entry& entry, const Verdict& verdict) {
    if (verdict.fate == Fate::delivered) {
      slot_.add(Counter::events_delivered);
      log::debug("event_delivered", {{"event_id", entry.event.event_id}, {"attempt", entry.event.attempt}});
      return ledger_.delivered(entry);
    }
    slot_.add(Counter::events_failed);
    const bool give_up = verdict.fate == Fate::given_up;
    log::write(give_up ? log::Level::error : log::Level::warn, give_up ? "event_given_up" : "event_not_delivered",
               {{"event_id", entry.event.event_id},
                {"event_type", entry.event.event_type},
                {"attempt", entry.event.attempt},
                {"error", verdict.why},
                {"retry_in_ms", verdict.wait.count()}});
    ledger_.failed(entry, {entry.event.event_id, entry.event.attempt, verdict.why, verdict.wait, give_up});
  }

  void tell() {
    for (auto& [of, outcomes] : ledger_.take_outcomes()) {
      const std::int64_t session = of;
      if (!outcomes.delivered.empty()) {
        store_.complete(
            session, outcomes.delivered, [this, session, events = outcomes.delivered](const Result<int>& ours) {
              --telling_;
              if (!ours) {
                untold(session, {events, {}}, ours.error());
              } else {
                ledger_.told(events.size());
                if (*ours < static_cast<int>(events.size())) {
                  log::warn("claims_lost",
                            {{"events", static_cast<int>(events.size()) - *ours}, {"effect", "delivered again"}});
                }
              }
              proceed();
            });
        ++telling_;
      }
      for (const Failed& event : outcomes.failed) {
        store_.fail(session, event, [this, session, event](const Result<bool>& ours) {
          --telling_;
          if (!ours) {
            untold(session, {{}, {event}}, ours.error());
          } else {
            ledger_.told(1);
            if (*ours && !event.give_up) look_in(event.wait);
          }
          proceed();
        });
        ++telling_;
      }
    }
  }

  // The database did not take it. It is told again on the next connection, or, if it will never be taken, forgotten:
  // the event stays claimed until the session ends or the hold is over, and is then delivered again.
  void untold(std::int64_t session, Ledger::Outcomes outcomes, const Error& error) {
    on_error(error);
    if (error.kind == ErrorKind::retry) {
      tell_again_.set_in(kTellAgain);
      return ledger_.untold(session, std::move(outcomes));
    }
    ledger_.told(outcomes.delivered.size() + outcomes.failed.size());
  }

  // One place decides what comes next, after whatever happened.
  void proceed() {
    if (proceeding_) return;
    proceeding_ = true;
    process_.loop().at_turn_end([this] {  // many answers of one turn: one statement
      proceeding_ = false;
      if (!draining_) send_waiting();
      if (conn_.up() && telling_ == 0 && ledger_.untold_outcomes() && !tell_again_.armed()) tell();
      if (crowded_ && ledger_.in_hand() <= room() / 2) {
        crowded_ = false;
        look_in(0us);
      }
      finish_if_done();
    });
  }

  void on_error(const Error& error) {
    switch (error.kind) {
      case ErrorKind::retry:
        if (conn_.up()) log::warn("statement_failed", {{"error", error.text}, {"sqlstate", error.sqlstate}});
        return;
      case ErrorKind::refuse:
        log::error("statement_refused", {{"error", error.text}, {"sqlstate", error.sqlstate}});
        if (error.sqlstate == "42501") process_.finish(proc::kExitConfig);  // privileges: the operator's to mend
        return;
      case ErrorKind::bug:
        log::error("bug", {{"error", error.text}, {"sqlstate", error.sqlstate}});
        return process_.finish(kExitBug);
    }
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  void finish_if_done() {
    const bool once_done = process_.once() && nothing_due_;
    if ((!draining_ && !once_done) || ending_) return;
    if (ledger_.in_hand() > 0 && (conn_.up() || sink_.under_way() > 0)) return;
    if (draining_ && conn_.conn().under_way() > 0) return;  // a claim or the start of a session: then end it
    ending_ = true;
    if (session_ == 0 || !conn_.up()) return ended();
    heartbeat_.cancel();
    store_.end_session(session_, [this](const Result<void>& over) {
      if (!over) log::warn("session_not_ended", {{"error", over.error().text}});
      ended();
    });
  }

  void ended() {
    conn_.close();
    if (drained_) std::exchange(drained_, nullptr)();
    else process_.finish(proc::kExitOk);
  }

  proc::Process& process_;
  const proc::Config& config_;
  proc::Slot slot_;
  pg::KeptConn conn_;
  OutboxStore store_;
  Ledger ledger_;
  HttpSink sink_;
  proc::Sweeper sweeper_;
  io::Alarm heartbeat_, schema_again_, tell_again_;
  proc::HubClient hub_;
  std::mt19937_64 rng_{std::random_device{}()};
  Backoff locked_{1ms, 1000ms};

  std::int64_t session_ = 0;            // 0: none
  std::vector<std::int64_t> sessions_;  // begun, and not known to have ended
  std::optional<int> claimed_;          // by the last look; none: it failed
  bool full_ = false;                   // it was full
  bool crowded_ = false;                // a look was put off for want of room
  int telling_ = 0;                     // statements of tell() under way
  Clock::time_point next_due_ = Clock::time_point::max();
  bool proceeding_ = false, was_up_ = false, nothing_due_ = false, draining_ = false, ending_ = false;
  std::function<void()> drained_;
};

}  // namespace

std::unique_ptr<proc::Service> make_relay(proc::Process& process) {
  return std::make_unique<Relay>(process);
}

}  // namespace romancy::relay
