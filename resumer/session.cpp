// The resumer's connection and session: begin, beat, lose, end. The instances' life is in resumer.cpp.
#include <algorithm>
#include <set>
#include <utility>

#include "common/base/ids.hpp"
#include "common/base/json.hpp"
#include "common/base/log.hpp"
#include "common/pg/migrate.hpp"
#include "common/proc/inherited.hpp"
#include "resumer/lease.hpp"
#include "resumer/resumer.hpp"
#include "sql/all.hpp"

namespace romancy::resumer {

using namespace std::chrono_literals;
using proc::Counter;

namespace {

pg::ConnOptions connection_of(const proc::Config& config) {
  pg::ConnOptions options;
  options.conninfo = config.conninfo;
  options.application_name = "romancy-resumer";
  options.schema = config.schema;
  options.connect_timeout = config.connect_timeout;
  options.set = pg::worker_settings();
  return options;
}

// The hub refuses a group of more than 1,024 bytes; a program with that many workflows is known by a digest of them.
constexpr std::size_t kLongestGroup = 256;

// FNV-1a, 64 bits: the same in every process and every build, unlike std::hash.
std::string digest_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  std::string hex(16, '0');
  for (auto digit = hex.rbegin(); digit != hex.rend(); ++digit, hash >>= 4) *digit = "0123456789abcdef"[hash & 15];
  return hex;
}

}  // namespace

proc::Subscription subscription_of(const Registry& registry, const std::string& version) {
  // Each program is its own group: programs with the same workflows share, others get their own hints. Two versions of one
  // may not share: the one a hint goes to may not be the one that may act on it.
  std::set<std::string> names;
  for (const WorkflowRef* workflow : registry.workflows()) names.insert(workflow->queue() + "/" + workflow->name());
  std::string group;
  for (const std::string& name : names) group += (group.empty() ? "" : ",") + name;
  if (!version.empty()) group = "version " + std::to_string(version.size()) + ":" + version + "," + group;
  if (group.size() > kLongestGroup) group = "workflows:" + digest_of(group);
  if (registry.queues().empty()) return {"resumer", group, {proc::kWorkflowResumable}, std::nullopt};
  return {"resumer", group, {proc::kWorkflowResumable, proc::kActivityTask}, std::nullopt};
}

Resumer::Resumer(proc::Process& process, const Registry& registry, std::shared_ptr<Hooks> hooks, std::string version)
    : process_(process),
      config_(process.config()),
      slot_(process.slot()),
      registry_(registry),
      version_(std::move(version)),
      observer_(std::move(hooks)),
      conn_(process.loop(), connection_of(config_), Backoff(config_.reconnect_delay, config_.reconnect_delay_max),
            {.on_up = [this] { connected(); }, .on_down = [this](const Error& why) { session_lost(why); }, .on_notification = {}}),
      store_(conn_.conn(), version_),
      commits_(process.loop(), store_, slot_, config_.max_workflows, config_.max_messages),
      cache_(config_.cache_instances),
      hub_(process.loop(), config_.hub_path(), subscription_of(registry, version_),
           {.on_wake =
                [this](std::string_view channel, std::string_view payload) {
                  if (channel == proc::kActivityTask) return tasks_.hint();
                  const auto hint = parse_json(payload, "hint", {.bytes = 8192, .depth = 4});
                  if (!hint || !hint->is_object()) return;  // the hub counts what is malformed
                  // Somebody has to match a channel, whoever waits there: the instance it names only chose us for it.
                  if (hint->contains("channel_name")) return sweeper_.hint();
                  const auto name = hint->find("workflow_name");
                  if (name != hint->end() && name->is_string() && registry_.workflow(name->get<std::string>()) == nullptr) return;
                  // Everybody is told; whoever does not hold it has nothing to do.
                  const auto leased = hint->find("leased_instance_id");
                  if (leased != hint->end()) return look_at_held(leased->is_string() ? leased->get<std::string>() : "");
                  const auto id = hint->find("instance_id");
                  if (id != hint->end() && id->is_string() && leases_.contains(id->get<std::string>())) {
                    return look_at_held(id->get<std::string>());
                  }
                  sweeper_.hint();
                },
            .on_resync =
                [this](std::string_view why) {
                  slot_.add(Counter::resyncs);
                  sweeper_.resync(why);
                  tasks_.resync(why);
                },
            .on_live =
                [this](bool live) {
                  slot_.live(live);
                  hears_ = live;
                  sweeper_.live(live);
                  tasks_.live(live);
                },
            .on_gone = {}}),
      sweeper_(process.loop(), {.poll = config_.workflow_interval, .fallback = config_.fallback_interval, .spread = config_.gap_spread},
               [this](proc::Why why) { look(why); }),
      heart_(process.loop(), [this] { beat(); }),
      suspect_alarm_(process.loop(), [this] { suspect_due(); }),
      hurry_(process.loop(), [this] { hurry(); }),
      async_(process.loop(), config_.async_activities),
      tasks_(process.loop(), conn_.conn(), registry, config_, process.component(),
             {.begin =
                  [this](ActivityPool::Job job) {
                    ++running_;
                    pool_->submit(std::move(job));
                  },
              .ended =
                  [this](bool ok) {
                    --running_;
                    slot_.add(Counter::activities_run);
                    if (!ok) slot_.add(Counter::activities_failed);
                  },
              .written = [this] { if (drained_) end_drain(); }}),
      pool_(std::make_unique<ActivityPool>(process.loop(), config_.activity_threads)) {}

Resumer::~Resumer() = default;

void Resumer::start() {
  conn_.open();
  if (config_.listener != proc::Listening::off && !process_.once()) hub_.start();
}

// Each new connection may be to a server that was migrated meanwhile: the schema is asked about first.
void Resumer::connected() {
  if (drained_) return end_drain();
  if (std::exchange(connected_before_, true)) slot_.add(Counter::reconnects);
  conn_.query(sql::all::schema_version, {}, [this](Result<pg::Rows> answer) {
    const auto judged = pg::judge_schema(answer);
    if (judged) return begin_session();
    if (judged.error().kind == ErrorKind::refuse) {
      log::error("this program may not use the schema", {{"schema", config_.schema}, {"error", judged.error().text}});
      return process_.finish(proc::kExitConfig);
    }
    start_again(judged.error());
  });
}

// The connection is up but of no use: leave it, and come back with the back-off of a lost one.
void Resumer::start_again(const Error& why) {
  log::warn("no session", {{"error", why.text}, {"sqlstate", why.sqlstate}});
  conn_.reopen();  // on_down follows
}

void Resumer::begin_session() {
  if (drained_) return end_drain();
  std::vector<std::string> queues, names;
  for (const WorkflowRef* workflow : registry_.workflows()) {
    queues.push_back(workflow->queue());
    names.push_back(workflow->name());
  }
  const std::int64_t session = random_session_id();
  store_.start_session(session, process_.component(), queues, names, config_.session_timeout, former_,
                       [this, session](Result<std::vector<Route>> routes) {
                         if (!routes) {
                           former_.push_back(session);  // it may have been committed all the same
                           return start_again(routes.error());
                         }
                         former_.clear();
                         session_ = session;
                         session_started(*routes);
                       });
}

void Resumer::session_started(const std::vector<Route>& routes) {
  routes_.clear();
  for (const Route& route : routes) routes_.push_back(route.id);
  routes_.push_back(kChannelsRoute);
  marks_.assign(routes_.size(), "0");
  log::info("session started", {{"session_id", session_}, {"workflows", registry_.workflows().size()}, {"version", version_}});
  commits_.session(session_);
  if (!process_.once()) hub_.session(session_);
  beat_answered_ = std::chrono::steady_clock::now();
  heart_.set_in(config_.session_timeout / 3);
  skip_delay_ = 1ms;
  sweeper_.start();
  if (!process_.once()) tasks_.start();
  process_.ready();
}

void Resumer::session_lost(const Error& why) {
  if (session_ != 0) {
    log::warn("session lost, its runs are dropped",
              {{"session_id", session_}, {"error", why.text}, {"instances", leases_.size()}});
    former_.push_back(std::exchange(session_, 0));
  } else if (!drained_ && !process_.once()) {
    log::warn("the database is away", {{"error", why.text}, {"sqlstate", why.sqlstate}});
  }
  process_.not_ready("no session: " + why.text);
  heart_.cancel();
  sweeper_.stop();
  tasks_.stop();
  commits_.drop_all();
  for (auto& [id, lease] : leases_) {
    for (auto& [op, attempt] : lease->attempts) attempt.stop.request_stop();
  }
  clear_suspect();
  leases_.clear();
  cache_.clear();
  starved_ = false;
  if (drained_) return end_drain();
  if (process_.once()) {
    log::error("the database is away", {{"error", why.text}});
    return process_.finish(proc::kExitDatabase);
  }
  if (conn_.up()) begin_session();
}

void Resumer::beat() {
  heart_.set_in(config_.session_timeout / 3);
  // A server that hangs while its TCP lives is noticed by nobody else. Our session has expired by then.
  const auto now = std::chrono::steady_clock::now();
  if (now - beat_answered_ > config_.session_timeout) {
    return start_again({ErrorKind::retry, "no heartbeat was answered within " + proc::format_duration(config_.session_timeout), {}});
  }
  std::vector<std::string> in_flight;
  for (const auto& [id, lease] : leases_) {
    if (!lease->attempts.empty()) in_flight.push_back(id);
  }
  store_.heartbeat(session_, config_.session_timeout, in_flight, [this, session = session_](Result<Beat> beat) {
    if (session != session_) return;
    beat_answered_ = std::chrono::steady_clock::now();
    if (!beat) {
      log::warn("heartbeat failed", {{"error", beat.error().text}});
      return;
    }
    if (!beat->alive) return session_lost({ErrorKind::retry, "the session was ended by somebody else", {}});
    for (const std::string& id : beat->cancelled) look_at_held(id);
  });
}

// ------------------------------------------------------------------------------------------------------------ drain

void Resumer::drain(std::function<void()> done) {
  drained_ = std::move(done);
  log::info("draining", {{"instances", leases_.size()}, {"activities", running_}});
  sweeper_.stop();
  // A retry that waits in memory starts elsewhere, after the session's end.
  for (auto& [id, lease] : leases_) {
    for (auto& [op, attempt] : lease->attempts) attempt.delay.reset();
  }
  running_ -= pool_->drop_queued() + async_.drop_queued();
  tasks_.drain();
  if (!process_.patient()) limited();
  end_drain();
}

void Resumer::limited() {
  if (!ending_) hurry_.set_in(config_.stop_timeout * 3 / 4);
}

// The activities under way had most of stop_timeout. They are asked to stop, and the session ends without them: so they
// run again elsewhere, but their worker does not count as one that crashed.
void Resumer::hurry() {
  log::warn("activities outlast the drain, they will run again elsewhere", {{"activities", running_}});
  for (auto& [id, lease] : leases_) {
    for (auto& [op, attempt] : lease->attempts) attempt.stop.request_stop();
  }
  tasks_.hurry();
  hurried_ = true;
  end_drain();
}

// Ends the session once the activities in hand have ended and their results are durable.
void Resumer::end_drain() {
  if (ending_) return;
  if (!hurried_) {
    if (running_ > 0 || !commits_.idle() || !tasks_.idle()) return;
    for (const auto& [id, lease] : leases_) {
      if (lease->asking || lease->dirty) return;  // a result that is not written yet
    }
  }
  ending_ = true;
  hurry_.cancel();
  leases_.clear();  // a transaction that waits for its commit rolls back
  // A function that has not returned keeps its thread, and the thread this process: process.cpp waits to the end of
  // stop_timeout, and then no longer.
  const auto finish = [this] {
    hub_.stop();
    conn_.close();
    if (!pool_->busy()) return drained_();
    log::warn("activities have not returned yet", {{"threads", pool_->threads()}});
    pool_->on_idle([this] { drained_(); });
  };
  if (session_ == 0 || !conn_.up()) return finish();
  heart_.cancel();
  store_.end_session(std::exchange(session_, 0), [finish](Result<void> ended) {
    if (!ended) log::warn("the session could not be ended, it will expire", {{"error", ended.error().text}});
    finish();
  });
}

}  // namespace romancy::resumer
