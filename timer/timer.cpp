#include "timer/timer.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/log.hpp"
#include "common/io/alarm.hpp"
#include "common/pg/kept_conn.hpp"
#include "common/proc/hub_client.hpp"
#include "common/proc/inherited.hpp"
#include "timer/lane.hpp"
#include "timer/reaper.hpp"
#include "timer/retention.hpp"
#include "timer/schedule_lane.hpp"

namespace romancy::timer {
namespace {

using namespace std::chrono_literals;
using proc::Counter;
using Clock = std::chrono::steady_clock;

constexpr int kExitBug = 70;                  // EX_SOFTWARE: a crash, for the supervisor
const std::vector<int> kSleepKinds{1, 3, 4, 5, 100};  // resumer::TimerKind sleep, retry, start_at, expiry; 100: tasks
const std::vector<int> kTimeoutKinds{2};      // timeout

class Timer final : public proc::Service {
 public:
  explicit Timer(proc::Process& process)
      : process_(process),
        config_(process.config()),
        slot_(process.slot()),
        conn_(process.loop(), conn_options(), Backoff(config_.reconnect_delay, config_.reconnect_delay_max),
              {.on_up = [this] { on_up(); },
               .on_down = [this](const Error& error) { on_down(error); },
               .on_notification = {}}),
        store_(conn_.conn()),
        sleeps_(process.loop(), store_, slot_, lane("sleeps", kSleepKinds, config_.timer_interval),
                lane_handlers(sleeping_)),
        timeouts_(process.loop(), store_, slot_, lane("timeouts", kTimeoutKinds, config_.channel_timeout_interval),
                  lane_handlers(timing_out_)),
        schedules_(process.loop(), store_, slot_,
                   {.limit = config_.max_timers, .intervals = intervals(config_.timer_interval)},
                   lane_handlers(ticking_)),
        reaper_(config_.session_timeout),
        reap_sweep_(process.loop(), reap_intervals(), [this](proc::Why) { sweep_sessions(); }),
        retention_(process.loop(), store_, slot_, config_,
                   {.on_error = [this](const Error& error) { on_error(error); }, .on_over = [this] { finish_drain(); }}),
        trial_due_(process.loop(), [this] { try_sessions(); }),
        schema_again_(process.loop(), [this] { check_schema(); }),
        hub_(process.loop(), config_.hub_path(),
             {.role = "timer", .group = "timer", .channels = {proc::kTimerExpired}, .session = std::nullopt},
             {.on_wake = [this](std::string_view, std::string_view payload) { on_hint(payload); },
              .on_resync = [this](std::string_view why) { on_resync(why); },
              .on_live = [this](bool live) { on_live(live); },
              .on_gone = [this](std::int64_t session) { on_gone(session); }}) {}

  void start() override {
    conn_.open();
    if (!process_.once() && config_.listener != proc::Listening::off) hub_.start();
  }

  void drain(std::function<void()> done) override {
    draining_ = true;
    drained_ = std::move(done);
    stop_looking();
    hub_.stop();
    finish_drain();
  }

 private:
  pg::ConnOptions conn_options() const {
    pg::ConnOptions options;
    options.conninfo = config_.conninfo;
    options.application_name = "romancy-timer";
    options.schema = config_.schema;
    options.connect_timeout = config_.connect_timeout;
    options.set = pg::worker_settings();
    return options;
  }

  Lane::Options lane(const char* name, const std::vector<int>& kinds, std::chrono::milliseconds poll) const {
    return {.name = name,
            .kinds = kinds,
            .limit = config_.max_timers,
            .intervals = intervals(poll)};
  }
  proc::Sweeper::Intervals intervals(std::chrono::milliseconds poll) const {
    return {.poll = poll, .fallback = config_.fallback_interval, .spread = config_.gap_spread};
  }

  // Of a lane, on this connection.
  struct Looks {
    bool done = false;  // once at least
    bool idle = false;  // and the last one left nothing to do
  };
  Lane::Handlers lane_handlers(Looks& looks) {
    return {.on_error = [this](const Error& error) { on_error(error); },
            .on_over =
                [this, &looks](bool more) {
                  looks = {.done = true, .idle = !more};
                  on_look_over();
                }};
  }

  // Whatever happens to hints, the sweep finds the expired sessions of a host that died: see reaper.hpp for when.
  proc::Sweeper::Intervals reap_intervals() const {
    return {.poll = config_.timer_interval,
            .fallback = Reaper(config_.session_timeout).sweep_every(),
            .spread = config_.gap_spread};
  }

  // --- the database comes and goes -----------------------------------------------------------------------------------

  void on_up() {
    if (was_up_) slot_.add(Counter::reconnects);
    reaper_.connected(Clock::now(), was_up_ || was_down_);
    was_up_ = true;
    check_schema();
  }

  void check_schema() {
    store_.check_schema([this](const Result<void>& fits) { on_schema(fits); });
  }

  void on_schema(const Result<void>& fits) {
    if (draining_) return finish_drain();
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
    sleeping_ = timing_out_ = ticking_ = {};
    sleeps_.start();
    timeouts_.start();
    schedules_.start();
    if (process_.once()) return;
    reap_sweep_.start();
    retention_.start();
    try_sessions();
  }

  void on_down(const Error& error) {
    was_down_ = true;
    process_.not_ready("the database is away: " + error.text);
    stop_looking();
    if (draining_) return finish_drain();
    if (process_.once()) {
      log::error("database_away", {{"error", error.text}});
      return process_.finish(proc::kExitDatabase);
    }
    log::warn("database_away", {{"error", error.text}});
  }

  void stop_looking() {
    sleeps_.stop();
    timeouts_.stop();
    schedules_.stop();
    reap_sweep_.stop();
    retention_.stop();
    trial_due_.cancel();
    schema_again_.cancel();
  }

  // --- what the hub says ---------------------------------------------------------------------------------------------

  void on_hint(std::string_view payload) {
    const Hint hint = read_hint(payload);
    if (hint.kind == "schedule" || hint.kind.empty()) schedules_.hint(hint);
    if (hint.kind != "timeout" && hint.kind != "schedule") sleeps_.hint(hint);
    if (hint.kind == "timeout" || hint.kind.empty()) timeouts_.hint(hint);
  }

  void on_resync(std::string_view why) {
    slot_.add(Counter::resyncs);
    sleeps_.resync(why);
    timeouts_.resync(why);
    schedules_.resync(why);
    reaper_.gap();
    reap_sweep_.resync(why);
  }

  void on_live(bool live) {
    slot_.live(live);
    sleeps_.live(live);
    timeouts_.live(live);
    schedules_.live(live);
    reap_sweep_.live(live);
  }

  // --- looks ---------------------------------------------------------------------------------------------------------

  void on_look_over() {
    if (draining_) return finish_drain();
    if (sleeping_.done && timing_out_.done && ticking_.done) process_.ready();  // harmless when it is
    if (process_.once() && sleeping_.idle && timing_out_.idle && ticking_.idle) process_.finish(proc::kExitOk);
  }

  // A statement failed. Lost connections are told by on_down as well; the sweep comes back for the rest.
  void on_error(const Error& error) {
    if (draining_) return finish_drain();
    switch (error.kind) {
      case ErrorKind::retry:
        if (conn_.up()) log::warn("statement_failed", {{"error", error.text}, {"sqlstate", error.sqlstate}});
        return;
      case ErrorKind::refuse:
        log::error("statement_refused", {{"error", error.text}, {"sqlstate", error.sqlstate}});
        // Missing privileges are the operator's to mend; a row that cannot be fired must not stop all others.
        if (error.sqlstate == "42501") process_.finish(proc::kExitConfig);
        return;
      case ErrorKind::bug:
        log::error("bug", {{"error", error.text}, {"sqlstate", error.sqlstate}});
        return process_.finish(kExitBug);
    }
  }

  // --- dead sessions -------------------------------------------------------------------------------------------------

  void on_gone(std::int64_t session) {
    log::debug("worker_gone", {{"session", session}});
    reaper_.gone(Clock::now(), session);
    try_sessions();
  }

  void try_sessions() {
    if (!conn_.up() || draining_) return;
    for (const std::int64_t session : reaper_.due(Clock::now())) {
      store_.reap_session(session, [this, session](const Result<std::optional<int>>& freed) {
        const bool ended = freed && *freed;
        reaper_.tried(Clock::now(), session, ended);
        if (ended) session_ended({session, "", **freed}, "its connection is gone");
        if (!freed) on_error(freed.error());
        arm_trials();
        finish_drain();
      });
    }
    arm_trials();
  }

  void arm_trials() {
    if (const auto next = reaper_.next_trial(); next && conn_.up() && !draining_) trial_due_.set_at(*next);
  }

  void sweep_sessions() {
    const auto what = reaper_.sweep(Clock::now(), hub_.live());
    switch (what) {
      case Reaper::Sweep::nothing: return sweep_over(std::nullopt);
      case Reaper::Sweep::list:
        return store_.list_sessions([this](const Result<std::vector<std::int64_t>>& sessions) {
          sweep_over(std::nullopt);
          if (!sessions) return on_error(sessions.error());
          for (const std::int64_t session : *sessions) reaper_.suspect(Clock::now(), session);
          try_sessions();
          finish_drain();
        });
      case Reaper::Sweep::expired:
      case Reaper::Sweep::expired_and_free:
        // Two statements, one round trip: the second one sees what the first has left.
        store_.reap_sessions(what == Reaper::Sweep::expired_and_free, [this](const Result<std::vector<Ended>>& ended) {
          if (!ended) return on_error(ended.error());
          for (const Ended& session : *ended) session_ended(session, "swept");
        });
        return store_.next_expiry([this](const Result<std::optional<std::chrono::microseconds>>& next) {
          sweep_over(next.value_or(std::nullopt));
          if (!next) return on_error(next.error());
          finish_drain();
        });
    }
  }

  void sweep_over(std::optional<std::chrono::microseconds> next_expiry) {
    reap_sweep_.done(false);
    if (const auto wait = reaper_.look_again(Clock::now(), next_expiry)) reap_sweep_.look_in(*wait);
  }

  void session_ended(const Ended& session, const char* why) {
    slot_.add(Counter::sessions_ended);
    log::info("session_ended",
              {{"session", session.session_id}, {"worker", session.worker}, {"freed", session.freed}, {"why", why}});
  }

  // --- the end -------------------------------------------------------------------------------------------------------

  // Whatever is under way is answered first, so that what it did is counted.
  void finish_drain() {
    if (!drained_ || conn_.conn().under_way() > 0) return;
    conn_.close();
    std::exchange(drained_, nullptr)();
  }

  proc::Process& process_;
  const proc::Config& config_;
  proc::Slot slot_;
  pg::KeptConn conn_;
  TimerStore store_;
  Lane sleeps_, timeouts_;
  ScheduleLane schedules_;
  Reaper reaper_;
  proc::Sweeper reap_sweep_;
  Retention retention_;
  io::Alarm trial_due_, schema_again_;
  proc::HubClient hub_;
  std::function<void()> drained_;                         // to be told once
  Looks sleeping_, timing_out_, ticking_;
  bool draining_ = false;
  bool was_up_ = false, was_down_ = false;
};

}  // namespace

std::unique_ptr<proc::Service> make_timer(proc::Process& process) {
  return std::make_unique<Timer>(process);
}

}  // namespace romancy::timer
