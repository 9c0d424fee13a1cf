#include "common/pg/conn.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <deque>
#include <optional>
#include <unordered_map>

#include "common/base/check.hpp"
#include "common/io/watch.hpp"
#include "common/pg/answer.hpp"
#include "common/pg/connect.hpp"
#include "common/pg/libpq.hpp"

namespace romancy::pg {
namespace {

constexpr std::size_t kLongestName = 48;  // of a Statement: the server silently cuts names at 63 bytes
constexpr int kReadsPerTurn = 8;          // then the others of the loop have their turn

// A Statement on this connection.
struct Plan {
  bool prepared = false;         // a PREPARE was sent and has not failed
  int version = 0;               // part of its name: counts the times its tables changed under it
  std::optional<Error> refused;  // why the last PREPARE failed: what was sent behind it only hears "unknown statement"
};

struct Query {
  std::string name;  // empty: not to be prepared
  std::string text;
  Params params;
  Conn::Reply reply;
  int version = 0;        // of the plan it runs
  bool preparing = false;  // the next end of a result is the PREPARE's
  bool heard = false;      // a result of it has come: without one its end is no answer
  std::optional<Error> error;
  Rows rows;

  void answer(Result<Rows> result) {
    if (!reply) return;
    if (!result && !name.empty()) result = tl::unexpected(std::move(result.error()).within(name));
    reply(std::move(result));
  }
};

Error unknown_outcome(const Error& why) {
  return {ErrorKind::retry, "the outcome is unknown: " + why.text, why.sqlstate};
}

std::string server_name(const std::string& name, int version) {
  return version == 0 ? name : name + "#" + std::to_string(version);
}

std::vector<const char*> pointers(const Params& params) {
  std::vector<const char*> values;
  values.reserve(params.values().size());
  for (const auto& value : params.values()) values.push_back(value ? value->c_str() : nullptr);
  return values;
}

}  // namespace

// Callbacks may do anything, also destroy the Conn. So whoever calls one holds the state by a shared_ptr, and looks
// at `pg` again afterwards: null says that the connection is no longer there. Teardown is at once (fall()), but what
// has to be told because of it is told at the turn's end, so never from within query() or close().
struct Conn::State : std::enable_shared_from_this<Conn::State> {
  // from        event                       to          tells
  // closed      open()                      connecting
  // connecting  connected                   up          on_up
  // connecting  failed, close()             closed      on_down
  // up          connection lost, close()    closed      the replies, on_down
  enum class Phase { closed, connecting, up };

  io::Loop& loop;
  ConnOptions options;
  Handlers handlers;
  Phase phase = Phase::closed;
  std::unique_ptr<Connect> connect;
  std::optional<Error> last_words;           // a FATAL of the server. Declared before pg, which writes it
  PgConn pg;                                 // not null: up
  std::unique_ptr<io::Watch> watch;          // on pg's socket: goes before pg
  std::unordered_map<std::string, Plan> plans;
  std::deque<Query> under_way;               // pipelined: all are sent; else only the front
  std::deque<Query> fallen;                  // were under way when the connection went; still to be told
  bool falling = false;                      // on_down is still to be told: a new open() waits for it
  bool reopen = false;
  bool orphaned = false;                     // the Conn is gone: no callback any more
  bool progress = false;                     // this read found something

  State(io::Loop& on, ConnOptions with, Handlers call)
      : loop(on), options(std::move(with)), handlers(std::move(call)) {}

  // Life ------------------------------------------------------------------------------------------------------------

  void open() {
    if (falling) {
      reopen = true;
      return;
    }
    if (phase != Phase::closed) return;
    phase = Phase::connecting;
    connect = std::make_unique<Connect>(loop, options, [this](Result<PgConn> r) { connected(std::move(r)); });
  }

  void close() {
    reopen = false;
    if (phase != Phase::closed) fall({ErrorKind::retry, "the connection was closed", {}});
  }

  void connected(Result<PgConn> result) {
    const auto self = shared_from_this();
    connect.reset();
    if (!result) return fall(std::move(result.error()));
    last_words.reset();
    pg = std::move(*result);
    take_notices(pg.get(), &last_words);
    if (PQsetnonblocking(pg.get(), 1) != 0 || (options.pipeline && PQenterPipelineMode(pg.get()) != 1))
      return fall(lost());
    phase = Phase::up;
    watch = std::make_unique<io::Watch>(loop, PQsocket(pg.get()), [this](bool readable, bool) { ready(readable); });
    watch->want(true, false);
    if (handlers.on_up) handlers.on_up();
    // The last packet of the handshake may have brought more, for which the socket does not become readable again.
    if (pg) read();
  }

  Error lost() {
    Error error = last_words ? *last_words : connection_error(pg.get());
    return std::move(error).within("connection lost");
  }

  void drop_handles() {
    connect.reset();
    watch.reset();
    pg.reset();
    plans.clear();
  }

  void fall(Error why) {
    phase = Phase::closed;
    falling = true;
    drop_handles();
    fallen = std::move(under_way);
    under_way.clear();
    loop.at_turn_end([self = shared_from_this(), error = std::move(why)] { self->tell_fall(error); });
  }

  void tell_fall(const Error& error) {
    std::deque<Query> unanswered;
    unanswered.swap(fallen);
    for (Query& query : unanswered) {
      if (orphaned) return;
      query.answer(tl::unexpected(unknown_outcome(error)));
    }
    if (orphaned) return;
    falling = false;
    if (handlers.on_down) handlers.on_down(error);
    if (!orphaned && std::exchange(reopen, false)) open();
  }

  void orphan() {
    orphaned = true;
    drop_handles();
    under_way.clear();
    fallen.clear();
  }

  // Sending ---------------------------------------------------------------------------------------------------------

  void refuse_later(Query query, Error why) {
    auto shared = std::make_shared<Query>(std::move(query));
    loop.at_turn_end([self = shared_from_this(), shared, error = std::move(why)] {
      if (!self->orphaned) shared->answer(tl::unexpected(error));
    });
  }

  void query(Query query) {
    if (!pg) return refuse_later(std::move(query), {ErrorKind::retry, "not connected", {}});
    for (const auto& value : query.params.values())
      if (value && value->find('\0') != value->npos)  // libpq would cut the value there; PostgreSQL has no such text
        return refuse_later(std::move(query), {ErrorKind::refuse, "a parameter contains a zero byte", "22021"});
    under_way.push_back(std::move(query));
    const bool sent = options.pipeline ? send_pipelined(under_way.back()) : under_way.size() > 1 || send_alone();
    if (sent) flush();
    else unsendable();
  }

  // libpq takes no more. What the server said before it hung up is still to be read, and not from within query().
  void unsendable() {
    if (!is_bad()) return fall(lost());
    loop.at_turn_end([self = shared_from_this()] { self->read(); });
  }

  // To be asked after everything that reads or writes: on a loss libpq closes the socket at once. Then the Watch must
  // go before any callback may open a descriptor, because it could get the same number.
  bool is_bad() {
    if (PQstatus(pg.get()) != CONNECTION_BAD) return false;
    watch.reset();
    return true;
  }

  bool send_pipelined(Query& query) {
    const auto values = pointers(query.params);
    const int count = static_cast<int>(values.size());
    if (query.name.empty()) {
      if (PQsendQueryParams(pg.get(), query.text.c_str(), count, nullptr, values.data(), nullptr, nullptr, 0) != 1)
        return false;
    } else {
      Plan& plan = plans[query.name];
      query.version = plan.version;
      const auto name = server_name(query.name, plan.version);
      query.preparing = !std::exchange(plan.prepared, true);
      if (query.preparing && PQsendPrepare(pg.get(), name.c_str(), query.text.c_str(), 0, nullptr) != 1) return false;
      if (PQsendQueryPrepared(pg.get(), name.c_str(), count, values.data(), nullptr, nullptr, 0) != 1) return false;
    }
    return PQpipelineSync(pg.get()) == 1;
  }

  bool send_alone() {
    if (under_way.empty()) return true;
    const Query& query = under_way.front();
    const auto values = pointers(query.params);
    return PQsendQueryParams(pg.get(), query.text.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                             nullptr, nullptr, 0) == 1;
  }

  void flush() {
    const int left = PQflush(pg.get());
    if (is_bad() || left < 0) return unsendable();
    // Reading goes on while there is something left to write: a server that cannot send does not read either.
    watch->want(true, left > 0);
  }

  // Receiving -------------------------------------------------------------------------------------------------------

  void ready(bool readable) {
    const auto self = shared_from_this();
    if (readable) read();
    if (pg) flush();
  }

  void read() {
    // Again while there was something: one call takes about 16 kB, and what TLS has already decrypted does not make
    // the socket readable.
    for (int reads = 0; reads < kReadsPerTurn && pg; ++reads) {
      const bool consumed = PQconsumeInput(pg.get()) == 1;
      const bool alive = !is_bad() && consumed;
      progress = false;
      read_answers();
      if (pg) read_notifications();  // also parses the FATAL that stands at the end
      if (pg && !alive) return fall(lost());
      if (!progress) return;
    }
  }

  // Never blocks: PQgetResult waits only while PQisBusy.
  void read_answers() {
    int ends = 0;
    while (pg && !under_way.empty() && PQisBusy(pg.get()) == 0) {
      PgResult result(PQgetResult(pg.get()));
      const bool bad = is_bad();
      if (result) {
        ends = 0;
        progress = true;
        take(std::move(result));
        // Notifications that came along are in libpq's hands already: the socket does not announce them again.
        if (pg) read_notifications();
      } else if (!options.pipeline && under_way.front().heard) {
        answer_front();
      } else {
        under_way.front().preparing = false;
        // Two ends without a result between them: libpq has nothing more, but we wait for something. So it is when
        // the connection is gone: libpq then forgets what it waited for, and only notices and notifications are left.
        if (++ends <= 2) continue;
        if (bad) return;
        return fall({ErrorKind::bug, "libpq and this program count the answers differently", {}});
      }
    }
  }

  void take(PgResult result) {
    Query& query = under_way.front();
    query.heard = true;
    switch (PQresultStatus(result.get())) {
      case PGRES_EMPTY_QUERY:
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
        if (query.preparing) plans[query.name].refused.reset();
        else query.rows = Rows(result.release());
        return;
      case PGRES_PIPELINE_SYNC: return answer_front();
      case PGRES_PIPELINE_ABORTED: return;  // the error that did this came before
      case PGRES_BAD_RESPONSE:
      case PGRES_NONFATAL_ERROR:
      case PGRES_FATAL_ERROR: return take_error(query, result.get());
      case PGRES_COPY_IN:
      case PGRES_COPY_OUT:
      case PGRES_COPY_BOTH:
      case PGRES_SINGLE_TUPLE: break;
    }
    fall({ErrorKind::bug, query.name + ": a COPY is not possible here", {}});
  }

  void take_error(Query& query, const PGresult* result) {
    Error error = error_of(result);
    if (is_fatal(result)) last_words = error;  // the server hangs up next, and then all that is under way is told
    if (is_fatal(result) || error.sqlstate.empty()) {
      query.error = unknown_outcome(lost());
      return;
    }
    if (query.error) return;
    if (!query.name.empty() && options.pipeline) {
      Plan& plan = plans[query.name];
      if (query.preparing) {
        plan.prepared = false;
        plan.refused = error;
      } else if (is_outdated_plan(result)) {
        error.kind = ErrorKind::retry;  // nothing was executed, and the next use prepares it anew
        if (plan.version == query.version) plan = {.prepared = false, .version = plan.version + 1, .refused = {}};
      } else if (error.sqlstate == "26000" && plan.refused) {
        error = *plan.refused;
      }
    }
    query.error = std::move(error);
  }

  void answer_front() {
    Query query = std::move(under_way.front());
    under_way.pop_front();
    if (!options.pipeline) {
      // Before the reply, so that the server works while the reply does.
      if (send_alone()) flush();
      else unsendable();
    }
    if (query.error) query.answer(tl::unexpected(std::move(*query.error)));
    else query.answer(std::move(query.rows));
  }

  void read_notifications() {
    while (pg) {
      const std::unique_ptr<PGnotify, decltype(&PQfreemem)> notify(PQnotifies(pg.get()), &PQfreemem);
      if (!notify) return;
      progress = true;
      if (handlers.on_notification)
        handlers.on_notification({.channel = notify->relname, .payload = notify->extra, .server_pid = notify->be_pid});
    }
  }
};

Conn::Conn(io::Loop& loop, ConnOptions options, Handlers handlers)
    : state_(std::make_shared<State>(loop, std::move(options), std::move(handlers))) {}

Conn::~Conn() { state_->orphan(); }

void Conn::open() { state_->open(); }
void Conn::close() { state_->close(); }
bool Conn::up() const { return state_->pg != nullptr; }
int Conn::backend_pid() const { return state_->pg ? PQbackendPID(state_->pg.get()) : 0; }
bool Conn::acknowledged() const {
  if (!state_->pg) return true;
  const int fd = PQsocket(state_->pg.get());
  sockaddr_storage ours{};
  socklen_t size = sizeof ours;
  int waiting = 0;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&ours), &size) != 0 || ours.ss_family == AF_UNIX) return true;
  return ::ioctl(fd, SIOCOUTQ, &waiting) != 0 || waiting == 0;
}
std::size_t Conn::under_way() const { return state_->under_way.size(); }

void Conn::query(const Statement& statement, Params params, Reply reply) {
  Query query{.name = statement.name, .text = statement.text, .params = std::move(params), .reply = std::move(reply),
              .error = {}, .rows = {}};
  check(!query.name.empty() && query.name.size() <= kLongestName, "a Statement has a name of 1 to 48 bytes",
        query.name);
  state_->query(std::move(query));
}

void Conn::query_text(std::string sql, Reply reply) {
  state_->query({.name = {}, .text = std::move(sql), .params = {}, .reply = std::move(reply), .error = {}, .rows = {}});
}

}  // namespace romancy::pg
