// Client: the SQL API for C++ programs. One blocking connection, made when it is needed and anew when it was lost.
#include "romancy/client.hpp"

#include <algorithm>
#include <thread>

#include "common/pg/await_end.hpp"
#include "common/pg/blocking.hpp"
#include "common/pg/migrate.hpp"
#include "resumer/sdk_names.hpp"
#include "sql/client.hpp"

namespace romancy {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

[[noreturn]] void throw_error(const Error& error) {
  throw ClientError(error.sqlstate, error.text, error.kind == ErrorKind::retry);
}

std::string text_of(const pg::Rows& rows, int column) { return rows.is_null(0, column) ? std::string() : rows.str(0, column); }

std::optional<std::string> given(const std::string& value) { return value.empty() ? std::nullopt : std::optional(value); }

}  // namespace

namespace detail {

class ClientConnection {
 public:
  ClientConnection(std::string conninfo, std::string schema, ClientOptions options)
      : schema_(std::move(schema)), options_(options) {
    if (const auto fits = pg::check_schema_name(schema_); !fits) throw ClientError({}, "schema: " + fits.error().text, false);
    where_.conninfo = std::move(conninfo);
    where_.application_name = "romancy-client";
    where_.schema = schema_;
    where_.connect_timeout = options.connect_timeout;
  }

  Result<pg::Blocking*> open() {
    if (db_ && db_->alive()) return &*db_;
    db_.reset();
    auto opened = pg::Blocking::connect(where_);
    if (!opened) return tl::unexpected(std::move(opened.error()));
    return &db_.emplace(std::move(*opened));
  }

  // again: it changes nothing, so a connection that was found dead is no reason to give up.
  pg::Rows query(const pg::Statement& statement, const pg::Params& params, bool again) {
    for (;;) {
      auto db = open();
      if (!db) throw_error(db.error());
      auto rows = (*db)->query(statement, params);
      if (rows) return std::move(*rows);
      if (!std::exchange(again, false) || (*db)->alive()) throw_error(rows.error());
    }
  }

  StateText wait(const std::string& id, std::chrono::milliseconds timeout) {
    const auto now = Clock::now();
    const auto deadline = now + std::min<Clock::duration>(timeout, std::chrono::hours(24 * 365 * 10));
    for (auto pause = 50ms;; pause = std::min(2 * pause, std::chrono::milliseconds(1000))) {
      auto db = open();
      if (db) {
        auto end = pg::await_end(**db, schema_, id, deadline, options_.fallback);
        if (end && !*end) throw WaitTimedOut(id);
        if (end) return {(*end)->status, {}, {}, (*end)->output.value_or(""), (*end)->error.value_or("")};
        if (end.error().kind != ErrorKind::retry) throw_error(end.error());
      } else if (db.error().kind != ErrorKind::retry) {
        throw_error(db.error());
      }
      // It is away: nothing tells us when it is back.
      if (Clock::now() + pause >= deadline) throw WaitTimedOut(id);
      std::this_thread::sleep_for(pause);
    }
  }

 private:
  std::string schema_;
  ClientOptions options_;
  pg::ConnOptions where_;
  std::optional<pg::Blocking> db_;
};

void CloseClient::operator()(ClientConnection* connection) const { delete connection; }

}  // namespace detail

Client::Client(std::string conninfo, std::string schema, ClientOptions options)
    : connection_(new detail::ClientConnection(std::move(conninfo), std::move(schema), options)) {}

std::string Client::start_text(const std::string& workflow, const std::string& queue, const std::string& input,
                               const StartOptions& options) {
  std::optional<std::string> at;
  if (options.at) {
    const auto micros = std::chrono::ceil<std::chrono::microseconds>(options.at->time_since_epoch());
    at = resumer::utc_time(micros.count());
  }
  const bool again = !options.id.empty();  // the same id is the same instance
  return connection_
      ->query(sql::client::start_workflow,
              pg::Params(workflow, input, given(options.id), options.queue.empty() ? queue : options.queue, at, options.priority,
                         given(options.key)),
              again)
      .str(0, 0);
}

std::optional<std::int64_t> Client::publish_text(const std::string& channel, const std::string& data, const std::string& metadata,
                                                 const std::string& to, const std::string& to_group) {
  if (!to.empty() && !to_group.empty())
    throw std::invalid_argument("publish on channel " + channel + ": to an instance or to a group, not both");
  const auto rows = to_group.empty()
                        ? connection_->query(sql::client::publish, pg::Params(channel, data, metadata, given(to)), false)
                        : connection_->query(sql::client::publish_to_group, pg::Params(to_group, channel, data, metadata), false);
  return rows.is_null(0, 0) ? std::nullopt : std::optional(rows.int64(0, 0));
}

bool Client::cancel(const std::string& id, const std::string& reason) {
  return connection_->query(sql::client::cancel_workflow, pg::Params(id, given(reason)), false).boolean(0, 0);
}

detail::StateText Client::state_text(const std::string& id) {
  const auto rows = connection_->query(sql::client::workflow_state, pg::Params(id), true);
  if (rows.empty()) throw ClientError("22023", "instance_id: there is no instance '" + id + "'", false);
  return {text_of(rows, 0), text_of(rows, 1), text_of(rows, 2), text_of(rows, 3), text_of(rows, 4)};
}

detail::StateText Client::result_text(const std::string& id) {
  const auto rows = connection_->query(sql::client::workflow_result, pg::Params(id), true);
  detail::StateText end{text_of(rows, 0), {}, {}, text_of(rows, 1), text_of(rows, 2)};
  if (end.output.empty() && end.error.empty())
    throw ClientError("55000", "instance_id: '" + id + "' has not finished: " + end.status, false);
  return end;
}

detail::StateText Client::wait_text(const std::string& id, std::chrono::milliseconds timeout) {
  return connection_->wait(id, timeout);
}

}  // namespace romancy
