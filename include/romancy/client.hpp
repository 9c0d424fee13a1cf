// client: starting workflows, talking to them and waiting for what comes of them, from a program that need not be a worker.
//
//   romancy::Client client("postgresql:///shop");
//   const auto id = client.start(order, Order{"o-1", 950}, {.id = "order-o-1"});
//   const auto receipt = client.wait<Receipt>(id, 30s);        told by the database, a round trip after the end
//
// What is started is named by its Workflow object or, where another program runs it, by a WorkflowName (children.hpp).
// These are the functions of docs/sql-api.md, each call a transaction of its own; in a transaction of yours, call those
// functions yourself.
//
// Threads: a Client is for one thread at a time; make one for each (each has one connection, opened at its first call, and
// anew when it was lost). It needs a session of its own: behind a pooler that gives it one for a transaction only,
// wait() hears nothing and looks every `fallback`.
// Failure: exceptions. ClientError: the database said no (its text, beginning with the name of the argument), or is away:
// of a start or a message that was under way it is unknown then whether it counts; a start with an id may be tried again.
// WorkflowFailed: it ended without an output. WaitTimedOut. BadData: a value does not convert.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <romancy/children.hpp>
#include <romancy/error.hpp>
#include <romancy/json.hpp>

namespace romancy {

class ClientError : public std::runtime_error {
 public:
  ClientError(std::string sqlstate, const std::string& message, bool away)
      : std::runtime_error(message), sqlstate_(std::move(sqlstate)), away_(away) {}
  // docs/sql-api.md has those of ours. Empty: nobody said one.
  [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }
  // The database could not be reached, the connection broke, or two transactions were in each other's way: the same call
  // may go well later.
  [[nodiscard]] bool may_be_tried_again() const noexcept { return away_; }

 private:
  std::string sqlstate_;
  bool away_;
};

// The workflow failed, or was cancelled: type "WorkflowCancelled", and the reason is the message.
class WorkflowFailed : public std::runtime_error {
 public:
  WorkflowFailed(const std::string& id, std::string type, std::string message)
      : std::runtime_error("workflow " + id + ": " + type + ": " + message), type_(std::move(type)), message_(std::move(message)) {}
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  std::string type_, message_;
};

class WaitTimedOut : public std::runtime_error {
 public:
  explicit WaitTimedOut(const std::string& id) : std::runtime_error("workflow " + id + " has not ended in time") {}
};

struct ClientOptions {
  std::chrono::milliseconds connect_timeout{5000};  // for each address
  std::chrono::milliseconds fallback{30'000};       // wait() looks so often, should notifications be lost
};

struct StartOptions {
  std::string id{};     // the same id twice is the same instance. Empty: random
  std::string queue{};  // empty: the workflow's own
  std::optional<std::chrono::system_clock::time_point> at{};  // not before
  int priority = 0;     // from -4 to 4, the higher ones come first: docs/queues.md
  std::string key{};    // those of one priority have their turn by key
};

struct SendOptions {
  std::string to{};        // an instance: only that one gets it. Empty: all subscribers, or one that receives
  std::string to_group{};  // instead of `to`: every member of this group
  Json metadata = Json::object();
};

struct WorkflowState {
  std::string status;  // running, completed, failed, cancelled, stuck, compensating
  Json progress;       // what ctx.set_status() said last, or null
  Json output, error;  // null: none
  std::string note;    // for operators: why it is stuck
  [[nodiscard]] bool finished() const noexcept {
    return status == "completed" || status == "failed" || status == "cancelled";
  }
};

namespace detail {

// The library's side: JSON as text.
struct StateText {
  std::string status, note, progress, output, error;  // empty: none
};
class ClientConnection;
struct CloseClient {
  void operator()(ClientConnection* connection) const;
};

}  // namespace detail

class Client {
 public:
  // conninfo: a URI or key=value, as libpq reads it. Nothing is connected yet.
  explicit Client(std::string conninfo, std::string schema = "romancy", ClientOptions options = {});

  // Returns the instance's id.
  template <detail::Startable W>
    requires(!std::is_void_v<typename W::Input>)
  std::string start(const W& workflow, const typename W::Input& input, const StartOptions& options = {}) {
    return start_text(workflow.name(), workflow.queue(), detail::to_text(input, "input of workflow " + workflow.name()), options);
  }
  template <detail::Startable W>
    requires(std::is_void_v<typename W::Input>)
  std::string start(const W& workflow, const StartOptions& options = {}) {
    return start_text(workflow.name(), workflow.queue(), "null", options);
  }

  // The message's id. Nothing: `to` has finished, and nothing was sent.
  template <class T>
  std::optional<std::int64_t> publish(std::string_view channel, const T& data, const SendOptions& options = {}) {
    const std::string what = "publish on channel " + std::string(channel);
    return publish_text(std::string(channel), detail::to_text(data, what), detail::to_text(options.metadata, what + ": metadata"),
                        options.to, options.to_group);
  }
  // Asks it to stop and compensate. False: it is cancelled already.
  bool cancel(const std::string& id, const std::string& reason = {});

  [[nodiscard]] WorkflowState status(const std::string& id) {
    const detail::StateText text = state_text(id);
    const auto json = [](const std::string& value, const char* what) { return value.empty() ? Json() : detail::parse_text(value, what); };
    return {text.status, json(text.progress, "progress"), json(text.output, "output"), json(text.error, "error"), text.note};
  }
  // Its output, once it has completed. ClientError 55000: it has not finished.
  template <class T = Json>
  T result(const std::string& id) {
    return output_as<T>(id, result_text(id));
  }
  // The same, when it has ended. Nothing is asked meanwhile; a database that goes away is waited for, too. Any number of
  // clients may wait for one instance.
  template <class T = Json>
  T wait(const std::string& id, std::chrono::milliseconds timeout = std::chrono::hours(24 * 365)) {
    return output_as<T>(id, wait_text(id, timeout));
  }

 private:
  std::string start_text(const std::string& workflow, const std::string& queue, const std::string& input, const StartOptions& options);
  std::optional<std::int64_t> publish_text(const std::string& channel, const std::string& data, const std::string& metadata,
                                           const std::string& to, const std::string& to_group);
  detail::StateText state_text(const std::string& id);
  detail::StateText result_text(const std::string& id);
  detail::StateText wait_text(const std::string& id, std::chrono::milliseconds timeout);

  template <class T>
  static T output_as(const std::string& id, const detail::StateText& end) {
    if (end.status != "completed") {
      const Json error = end.error.empty() ? Json::object() : detail::parse_text(end.error, "error");
      throw WorkflowFailed(id, end.status == "cancelled" ? "WorkflowCancelled" : error.value("type", ""),
                           end.status == "cancelled" ? error.value("reason", "") : error.value("message", ""));
    }
    if constexpr (!std::is_void_v<T>) return detail::from_text<T>(end.output.empty() ? "null" : end.output, "output");
  }

  std::unique_ptr<detail::ClientConnection, detail::CloseClient> connection_;
};

}  // namespace romancy
