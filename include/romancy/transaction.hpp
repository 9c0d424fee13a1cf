// transaction: an activity that takes effect exactly once, in tables of the same database.
//
//   const auto debit = romancy::transactional("debit", [](romancy::Transaction& tx, Debit d) {
//     const auto rows = tx.exec("UPDATE accounts SET cents = cents - $1 WHERE id = $2 RETURNING cents", d.cents, d.account);
//     if (rows.empty()) throw romancy::TerminalError("no account " + d.account, "NoSuchAccount");
//     return rows.get<std::int64_t>(0, "cents");
//   });
//
// Promise: what it writes and the record of its result commit together or not at all. A worker that dies, that lost the
// instance, or whose connection breaks leaves no trace: the attempt is made again. So it needs no idempotency key, but
// nothing outside this database may happen in it.
//
// Each attempt is a transaction of its own: a failed one rolls back, is recorded as any failure, and the policy decides
// about another. Serialization failures and deadlocks (40001, 40P01) are tried again whatever non_retryable says.
// Errors that only COMMIT finds (deferred constraints) fail the attempt too.
//
// Where it runs: on a thread of the pool, on a connection of that thread, opened with the worker's connection string and
// kept. search_path is that role's, with the engine's schema behind it: your tables are found as in psql, and
// SELECT publish(..) works too. Time zone is UTC, dates are ISO. What a session keeps (SET without LOCAL, temporary
// tables, session advisory locks) stays for the next attempt on the thread: do not.
// Locks: rows you lock are held until the instance's row is locked and all is committed. Keep it short.
// COMMIT, ROLLBACK, BEGIN, SAVEPOINT and the like are refused (TerminalError "TransactionControl"): use savepoint().
// Stop (cancelled, lease lost, time-out, drain): a statement under way is cancelled, and exec throws Stopped.
#pragma once
#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <romancy/activity.hpp>

namespace romancy {

enum class Isolation { read_committed, repeatable_read, serializable };

// PostgreSQL refused a statement, or the connection broke. The transaction is of no use any more, except after
// savepoint(). What the workflow sees is an ActivityError of type "SqlError" whose message begins with the code.
class SqlError : public std::runtime_error {
 public:
  SqlError(std::string sqlstate, const std::string& message)
      : std::runtime_error(sqlstate + ": " + message), sqlstate_(std::move(sqlstate)) {}
  [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }  // five characters; 08006: lost

 private:
  std::string sqlstate_;
};

// The answer to a statement, copied: it outlives the transaction. Rows and columns count from 0.
class Rows {
 public:
  using Value = std::optional<std::string>;
  Rows(std::vector<std::string> names, std::vector<Value> values, std::int64_t affected)
      : names_(std::move(names)), values_(std::move(values)), affected_(affected) {}

  [[nodiscard]] std::size_t size() const noexcept { return names_.empty() ? 0 : values_.size() / names_.size(); }
  [[nodiscard]] bool empty() const noexcept { return values_.empty(); }
  [[nodiscard]] std::int64_t affected() const noexcept { return affected_; }  // rows changed (or returned)
  [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return names_; }

  [[nodiscard]] std::size_t column(std::string_view name) const;  // throws BadData: no such column
  [[nodiscard]] const Value& value(std::size_t row, std::size_t column) const;  // throws BadData: no such value
  [[nodiscard]] bool is_null(std::size_t row, std::size_t column) const { return !value(row, column); }
  [[nodiscard]] bool is_null(std::size_t row, std::string_view name) const { return is_null(row, column(name)); }

  // T: std::string, bool, integers, double, Json, or std::optional of one of them (for NULL). Throws BadData naming the
  // column when the value is NULL or is no T.
  template <class T>
  [[nodiscard]] T get(std::size_t row, std::size_t column) const;
  template <class T>
  [[nodiscard]] T get(std::size_t row, std::string_view name) const {
    return get<T>(row, column(name));
  }

 private:
  [[noreturn]] void misread(std::size_t row, std::size_t column, std::string_view what) const;
  std::vector<std::string> names_;
  std::vector<Value> values_;
  std::int64_t affected_;
};

namespace detail {

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

// A parameter in PostgreSQL's text form.
template <class T>
std::optional<std::string> sql_text(const T& value) {
  if constexpr (std::is_same_v<T, std::nullptr_t> || std::is_same_v<T, std::nullopt_t>) {
    return std::nullopt;
  } else if constexpr (kIsOptional<T>) {
    return value ? sql_text(*value) : std::nullopt;
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "t" : "f";
  } else if constexpr (std::integral<T>) {
    return std::to_string(value);
  } else if constexpr (std::floating_point<T>) {
    char text[64];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;  // the shortest that reads back the same
    return std::string(text, end);
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else {
    return to_text(value, "parameter");  // Json, or what converts to it: for a json or jsonb parameter
  }
}

// A serialization failure or a deadlock: the same again may well succeed.
bool sql_wants_another(std::string_view sqlstate);

// The connection behind a transaction; the engine's.
class SqlHost {
 public:
  virtual Rows exec(std::string_view sql, const std::vector<std::optional<std::string>>& params) = 0;
  virtual void control(const std::string& sql) = 0;  // our own SAVEPOINT and the like
  virtual const std::string& schema() const = 0;

 protected:
  ~SqlHost() = default;
};

}  // namespace detail

// One attempt, with its transaction. Belongs to the thread that runs the activity.
class Transaction : public Attempt {
 public:
  Transaction(std::string instance_id, int number, std::string key, std::stop_token stop, detail::SqlHost& host)
      : Attempt(std::move(instance_id), number, std::move(key), std::move(stop)), host_(host) {}

  // One statement; $1, $2 .. are the parameters: texts, numbers, bool, std::optional, nullptr for NULL, Json.
  // Throws SqlError, Stopped, or TerminalError for transaction control.
  template <class... T>
  Rows exec(std::string_view sql, const T&... params) {
    std::vector<std::optional<std::string>> texts;
    texts.reserve(sizeof...(params));
    (texts.push_back(detail::sql_text<std::decay_t<const T&>>(params)), ...);
    return host_.exec(sql, texts);
  }

  // Runs body() in a savepoint and returns what it returns. When an exception leaves it, what it did in the database is
  // undone, and the exception goes on: catch it, and the transaction can be used. May be nested.
  template <class F>
  auto savepoint(F&& body) -> decltype(body()) {
    const std::string name = "romancy_" + std::to_string(++savepoints_);
    host_.control("SAVEPOINT " + name);
    try {
      if constexpr (std::is_void_v<decltype(body())>) {
        body();
        host_.control("RELEASE SAVEPOINT " + name);
      } else {
        auto result = body();
        host_.control("RELEASE SAVEPOINT " + name);
        return result;
      }
    } catch (...) {
      host_.control("ROLLBACK TO SAVEPOINT " + name + "; RELEASE SAVEPOINT " + name);
      throw;
    }
  }

  // The engine's schema as it stands in SQL: tx.exec("SELECT " + tx.schema() + ".publish($1, $2::jsonb)", ..).
  [[nodiscard]] const std::string& schema() const { return host_.schema(); }

 private:
  detail::SqlHost& host_;
  int savepoints_ = 0;
};

struct TransactionOptions {
  RetryPolicy retry{};
  std::chrono::milliseconds timeout{0};  // of one attempt; also the statement_timeout. See ActivityOptions
  Isolation isolation = Isolation::read_committed;
};

namespace detail {

class TransactionalDefinition : public ActivityDefinition {
 public:
  TransactionalDefinition(std::string name, const TransactionOptions& options)
      : ActivityDefinition(std::move(name), ActivityKind::transactional, {options.retry, options.timeout}),
        isolation_(options.isolation) {}
  virtual std::string call(Transaction& tx, const std::string& input) const = 0;
  [[nodiscard]] Isolation isolation() const { return isolation_; }

 private:
  Isolation isolation_;
};

template <class F, class In, class Out>
class TransactionalOf final : public TransactionalDefinition {
 public:
  TransactionalOf(std::string name, F function, const TransactionOptions& options)
      : TransactionalDefinition(std::move(name), options), function_(std::move(function)) {}
  std::string call(Transaction& tx, const std::string& input) const override {
    return call_with_text<In, Out>(function_, tx, input);
  }

 private:
  F function_;
};

}  // namespace detail

template <class F>
auto transactional(std::string name, F function, TransactionOptions options = {}) {
  constexpr auto kWrong = detail::wrong_activity<F, Transaction, detail::PlainResult, false>();
  detail::explain_activity<kWrong>();
  if constexpr (kWrong == detail::Wrong::nothing) {
    using Call = detail::ActivityCall<F>;
    using In = typename Call::In;
    using Out = std::remove_cvref_t<typename Call::Result>;
    return Activity<In, Out>(
        std::make_shared<const detail::TransactionalOf<F, In, Out>>(std::move(name), std::move(function), options));
  } else {
    return Activity<Json, Json>(nullptr);
  }
}

template <class T>
T Rows::get(std::size_t row, std::size_t column) const {
  const Value& held = value(row, column);
  if constexpr (detail::kIsOptional<T>) {
    if (!held) return std::nullopt;
    return get<typename T::value_type>(row, column);
  } else {
    if (!held) misread(row, column, "is NULL");
    if constexpr (std::is_same_v<T, std::string>) {
      return *held;
    } else if constexpr (std::is_same_v<T, bool>) {
      if (*held != "t" && *held != "f") misread(row, column, "is not a boolean");
      return *held == "t";
    } else if constexpr (std::is_arithmetic_v<T>) {
      T number{};
      const auto [end, error] = std::from_chars(held->data(), held->data() + held->size(), number);
      if (error != std::errc{} || end != held->data() + held->size()) misread(row, column, "is not such a number");
      return number;
    } else {
      return detail::from_text<T>(*held, "column " + names_[column]);
    }
  }
}

}  // namespace romancy
