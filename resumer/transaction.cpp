#include "resumer/transaction.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>

#include "common/base/check.hpp"
#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/base/test_point.hpp"
#include "common/base/unique_fd.hpp"
#include "common/pg/sqlstate.hpp"
#include "resumer/lease.hpp"
#include "sql/resumer.hpp"

namespace romancy::resumer {
namespace {

// The thread's own, opened when it is first needed, and anew when it was lost.
thread_local std::unique_ptr<pg::Blocking> connection;

std::string quoted(const std::string& schema) { return '"' + schema + '"'; }

[[noreturn]] void throw_sql(const Error& error) {
  throw SqlError(error.sqlstate.empty() ? "08006" : error.sqlstate, error.text);
}

pg::Blocking& open(const TransactionJob& job) {
  if (connection && connection->alive()) return *connection;
  connection.reset();
  pg::ConnOptions options;
  options.conninfo = job.conninfo;
  options.application_name = "romancy-activity";
  options.schema.clear();
  options.connect_timeout = job.connect_timeout;
  auto opened = pg::Blocking::connect(options);
  if (!opened) throw_sql(opened.error());
  connection = std::make_unique<pg::Blocking>(std::move(*opened));
  auto path = connection->query(sql::resumer::extend_search_path, pg::Params(quoted(job.schema)));
  if (!path) {
    connection.reset();
    throw_sql(path.error());
  }
  return *connection;
}

// Readable once the attempt is asked to stop: wakes the thread out of poll().
class Interrupt {
 public:
  explicit Interrupt(const std::stop_token& stop)
      : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), callback_(stop, Ring{fd_.get()}) {
    if (!fd_) broken("eventfd", errno_text(errno));
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct Ring {
    int fd;
    void operator()() const {
      const std::uint64_t one = 1;
      check(::write(fd, &one, sizeof one) == sizeof one, "an eventfd can be rung");
    }
  };
  UniqueFd fd_;  // declared before the callback that writes to it
  std::stop_callback<Ring> callback_;
};

using Clock = std::chrono::steady_clock;

// When the attempt's own time is over. The loop counts it too, and asks to stop; but a loop that is busy comes later than
// the server's statement_timeout, and the two must say the same.
Clock::time_point end_of_time(const TransactionJob& job) {
  const auto timeout = job.definition->options().timeout;
  return timeout.count() > 0 ? Clock::now() + timeout : Clock::time_point::max();
}

class Session final : public detail::SqlHost {
 public:
  Session(pg::Blocking& conn, const TransactionJob& job, Clock::time_point end)
      : conn_(conn), interrupt_(job.stop), stop_(job.stop), end_(end), schema_(quoted(job.schema)) {}

  Rows exec(std::string_view sql, const std::vector<std::optional<std::string>>& params) override {
    if (const auto word = transaction_control(sql); !word.empty()) {
      throw TerminalError(word + " is not allowed in a transactional activity; tx.savepoint() is", "TransactionControl");
    }
    if (over()) stop();
    pg::Params values;
    for (const auto& param : params) values.add(param);
    const auto rows = answered(conn_.query(sql, values, interrupt_.fd()));
    std::vector<std::string> names;
    std::vector<Rows::Value> cells;
    for (int column = 0; column < rows.columns(); ++column) names.push_back(rows.name(column));
    for (int row = 0; row < rows.size(); ++row) {
      for (int column = 0; column < rows.columns(); ++column) {
        cells.push_back(rows.is_null(row, column) ? Rows::Value() : Rows::Value(rows.str(row, column)));
      }
    }
    return {std::move(names), std::move(cells), rows.affected()};
  }

  // Not interrupted: a savepoint must be left even by an attempt that stops.
  void control(const std::string& sql) override { answered(conn_.script(sql)); }
  [[nodiscard]] const std::string& schema() const override { return schema_; }
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  [[nodiscard]] bool stopped() const { return stopped_; }  // the code was told so, whatever it made of it

 private:
  pg::Rows answered(Result<pg::Rows> rows) {
    if (rows) return std::move(*rows);
    failure_ = rows.error();
    if (rows.error().sqlstate == "57014" && over()) stop();
    throw_sql(rows.error());
  }

  [[noreturn]] void stop() {
    stopped_ = true;
    throw Stopped{};
  }
  [[nodiscard]] bool over() const { return stop_.stop_requested() || Clock::now() >= end_; }

  pg::Blocking& conn_;
  Interrupt interrupt_;
  std::stop_token stop_;
  Clock::time_point end_;
  std::string schema_;
  std::optional<Error> failure_;  // the last
  bool stopped_ = false;
};

void begin(pg::Blocking& conn, const TransactionJob& job) {
  static constexpr const char* kLevels[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
  std::string text = "BEGIN ISOLATION LEVEL ";
  text += kLevels[static_cast<int>(job.definition->isolation())];
  // The server's own limit, for the statement that no cancel reaches.
  if (const auto timeout = job.definition->options().timeout; timeout.count() > 0) {
    text += "; SET LOCAL statement_timeout = " + std::to_string(std::min<std::int64_t>(timeout.count(), 2'147'483'647));
  }
  if (auto begun = conn.script(text); !begun) throw_sql(begun.error());
}

void roll_back() {
  if (!connection || !connection->alive() || connection->transaction() == pg::Blocking::Transaction::none) return;
  // A connection on which even this fails is of no use; closing it rolls back too.
  if (auto rolled = connection->script("ROLLBACK"); !rolled) connection.reset();
}

AttemptResult refused(const Error& error) {
  try {
    throw_sql(error);
  } catch (...) {
    auto result = detail::failed_attempt();
    result.terminal = pg::is_data_error(error.sqlstate) && error.sqlstate.starts_with("22");
    return result;
  }
}

AttemptResult run_user_code(const TransactionJob& job, Clock::time_point end) {
  try {
    try {
      begin(open(job), job);
    } catch (const SqlError&) {
      if (connection && connection->alive()) throw;
      begin(open(job), job);  // it was lost since the last time: that is no failure of this attempt
    }
    Session session(*connection, job, end);
    Transaction tx(job.instance_id, job.start.attempt, job.start.key, job.stop, session);
    AttemptResult result;
    result.data = job.definition->call(tx, job.start.input);
    // Swallowed, within a savepoint say: what it was to do is not done.
    if (session.stopped()) throw Stopped{};
    // An error that the code swallowed: PostgreSQL would make a ROLLBACK of our COMMIT.
    if (connection->transaction() != pg::Blocking::Transaction::open) {
      return refused(session.failure().value_or(Error{ErrorKind::refuse, "the transaction was ended by hand", "25000"}));
    }
    result.ok = true;
    return result;
  } catch (...) {
    return detail::failed_attempt();
  }
}

// From the order on. Nothing here may throw, and only an answer that is lost leaves the end unknown.
TransactionOutcome commit(const TransactionJob& job, const Handover::Order& order, const AttemptResult& result) {
  const auto failed = [&](const Error& error) {
    return TransactionOutcome{TransactionEnd::rolled_back, outcome_of(job.start, refused(error))};
  };
  auto accepted = connection->query(
      sql::resumer::commit_activity.in_schema(quoted(job.schema)),
      pg::Params(order.session, job.instance_id, order.token, order.seq, job.start.op,
                 static_cast<int>(HistoryKind::activity_completed), job.start.name, result.data));
  if (!accepted) {
    roll_back();
    return failed(accepted.error());
  }
  if (!accepted->boolean(0, 0)) {
    roll_back();
    return {TransactionEnd::fenced, {}};
  }
  static_cast<void>(ROMANCY_TEST_POINT("resumer.transaction.before"));
  auto committed = connection->script("COMMIT");
  static_cast<void>(ROMANCY_TEST_POINT("resumer.transaction.after"));
  if (!committed) {
    if (connection->alive()) return failed(committed.error());
    log::warn("the answer to a commit is lost", {{"instance_id", job.instance_id}, {"error", committed.error().text}});
    return {TransactionEnd::unknown, {}};
  }
  if (committed->command() != "COMMIT") return failed({ErrorKind::refuse, "PostgreSQL rolled back", "40000"});
  return {TransactionEnd::committed, outcome_of(job.start, result)};
}

}  // namespace

void Handover::commit(Order order) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(decided_, true)) return;
    order_ = order;
  }
  given_.notify_one();
}

void Handover::drop() {
  {
    const std::lock_guard lock(mutex_);
    decided_ = true;
  }
  given_.notify_one();
}

std::optional<Handover::Order> Handover::wait(const std::stop_token& ending) {
  std::unique_lock lock(mutex_);
  given_.wait(lock, ending, [this] { return decided_; });
  decided_ = true;
  return order_;
}

TransactionOutcome run_transaction(const TransactionJob& job, const std::stop_token& ending, Handover& handover,
                                   const std::function<void()>& ready) {
  const auto end = end_of_time(job);
  const AttemptResult result = run_user_code(job, end);
  // Time that is over is over, also for one that ended well: a loop that is busy has only not said so yet.
  const bool late = Clock::now() >= end && !job.stop.stop_requested();
  if (!result.ok || late) {
    roll_back();
    if (late) {
      return {TransactionEnd::rolled_back, timed_out(job.start, job.definition->options().timeout)};
    }
    return {TransactionEnd::rolled_back, outcome_of(job.start, result)};
  }
  ready();
  const auto order = handover.wait(ending);
  if (!order) {
    roll_back();
    return {TransactionEnd::dropped, {}};
  }
  return commit(job, *order, result);
}

std::string transaction_control(std::string_view sql) {
  const auto skip = [&] {  // white space, comments, empty statements
    for (;;) {
      if (sql.empty()) return;
      if (std::isspace(static_cast<unsigned char>(sql.front())) || sql.front() == ';') {
        sql.remove_prefix(1);
      } else if (sql.starts_with("--")) {
        sql.remove_prefix(std::min(sql.find('\n'), sql.size()));
      } else if (sql.starts_with("/*")) {  // they nest
        int depth = 0;
        do {
          if (sql.starts_with("/*")) ++depth, sql.remove_prefix(2);
          else if (sql.starts_with("*/")) --depth, sql.remove_prefix(2);
          else sql.remove_prefix(1);
        } while (depth > 0 && !sql.empty());
      } else {
        return;
      }
    }
  };
  const auto word = [&] {
    skip();
    std::string taken;
    while (!sql.empty() && (std::isalpha(static_cast<unsigned char>(sql.front())) || sql.front() == '_')) {
      taken += static_cast<char>(std::toupper(static_cast<unsigned char>(sql.front())));
      sql.remove_prefix(1);
    }
    return taken;
  };
  std::string first = word();
  static constexpr std::array kOurs = {"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"};
  if (std::find(kOurs.begin(), kOurs.end(), first) != kOurs.end()) return first;
  if ((first == "START" || first == "PREPARE") && word() == "TRANSACTION") return first + " TRANSACTION";
  return {};
}

}  // namespace romancy::resumer
