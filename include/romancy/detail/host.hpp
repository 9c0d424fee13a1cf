// host: what stands behind a Context: the run of one instance, inside the library. Text and plain values only.
//
// Ask is the base of every awaitable that the engine answers. It is opened when it is awaited (or started), and takes
// its operation number then: the order of awaiting is the program's, the order in which a compiler evaluates arguments
// is not. It is answered once. The host knows open asks by their number; an ask that dies open (its coroutine was
// destroyed) takes itself back.
#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <romancy/task.hpp>

namespace romancy {
class ActivityRef;
}

namespace romancy::detail {

class Ask;

struct Answer {
  enum class Kind : std::uint8_t { none, value, timed_out, failed, cancelled };
  Kind kind = Kind::none;
  int attempt = 0;          // failed: the attempt that was the last
  std::string data{};       // value: JSON text; cancelled: the reason
  std::string error_type{}, error_message{};  // failed
  std::string instance_id{};  // of a child
};

struct Publication {
  std::string_view channel;
  std::string data, metadata;
  std::optional<std::string> to, to_group;
};

struct NewInstance {
  std::string workflow, input;
  std::string id;     // empty: derived from where the code is
  std::string queue;
  bool follows = true;
  int priority = 0;
  std::string key;     // empty: none
};

class Host {
 public:
  virtual ~Host() = default;
  virtual std::int32_t next_op() = 0;
  virtual Driver& driver() = 0;

  // Each answers at once, or later through Ask::answer(). After a mismatch: never.
  virtual void open_activity(Ask& ask, const ActivityRef& activity, std::string input) = 0;
  virtual void open_sleep(Ask& ask, std::optional<std::chrono::microseconds> after,
                          std::optional<std::int64_t> at_micros) = 0;
  // subscribe: as a broadcast subscriber, unless it has subscribed already.
  virtual void open_receive(Ask& ask, const std::string& channel, std::optional<std::chrono::microseconds> within,
                            bool subscribe) = 0;
  // A child that is started and awaited; and one that was started, by the operation that did.
  virtual void open_child(Ask& ask, NewInstance child) = 0;
  virtual void open_child_end(Ask& ask, std::int32_t child) = 0;
  virtual void withdraw(std::int32_t op) noexcept = 0;
  // Answers whatever waits in a cancelled scope.
  virtual void strike() = 0;

  virtual void subscribe(std::string_view channel, bool on, bool competing) = 0;
  virtual void join(std::string_view group, bool on) = 0;
  virtual void publish(Publication publication) = 0;
  virtual void send_event(std::string_view type, std::string_view source, std::string data,
                          std::string content_type) = 0;
  struct Started {
    std::int32_t op;
    std::string id;
  };
  virtual Started start_child(NewInstance child) = 0;
  virtual std::string start_workflow(NewInstance instance) = 0;
  virtual void cancel_workflow(std::string_view instance_id, std::string_view reason) = 0;
  virtual void set_status(std::string value) = 0;
  virtual bool patched(std::string_view id) = 0;
  virtual void deprecate_patch(std::string_view id) = 0;
  virtual void compensate_with(const ActivityRef& activity, std::string input) = 0;
  virtual void forget_compensations() = 0;
  [[noreturn]] virtual void recur(std::string input) = 0;

  virtual std::int64_t now_micros() = 0;
  virtual std::string uuid() = 0;
  virtual std::uint64_t random() = 0;
  virtual std::string side_effect(std::string_view name, const std::function<std::string()>& make) = 0;
  // level: 0 debug, 1 info, 2 warn, 3 error. fields: a JSON object.
  virtual void log(int level, std::string_view text, const std::string& fields) = 0;

  [[nodiscard]] virtual bool replaying() const noexcept = 0;
  [[nodiscard]] virtual bool cancelled() const noexcept = 0;
  [[nodiscard]] virtual const std::string& instance_id() const noexcept = 0;
  [[nodiscard]] virtual const std::string& workflow_name() const noexcept = 0;
  [[nodiscard]] virtual int generation() const noexcept = 0;
  [[nodiscard]] virtual std::int64_t history_length() const noexcept = 0;
};

class Ask : public Awaitable {
 public:
  // Only before it is opened.
  Ask(Ask&& other) noexcept : host_(other.host_) {}
  Ask& operator=(Ask&&) = delete;
  Ask(const Ask&) = delete;
  Ask& operator=(const Ask&) = delete;

  [[nodiscard]] std::int32_t op() const noexcept { return op_; }
  // The scope in which it was opened.
  [[nodiscard]] Scope& scope() const noexcept { return *scope_; }
  // For the host.
  void answer(Answer answer) {
    answer_ = std::move(answer);
    if (waiting_) host_->driver().post(waiting_, scope_);
  }
  void await_suspend(std::coroutine_handle<> waiting) noexcept { waiting_ = waiting; }

 protected:
  explicit Ask(Host& host) : host_(&host) {}
  ~Ask() {
    if (op_ != 0 && answer_.kind == Answer::Kind::none) host_->withdraw(op_);
  }
  // True the first time: the caller shall open the ask with the host.
  [[nodiscard]] bool opening() {
    if (op_ != 0) return false;
    scope_ = host_->driver().scope();
    op_ = host_->next_op();
    return true;
  }
  [[nodiscard]] bool answered() const noexcept { return answer_.kind != Answer::Kind::none; }

  Host* host_;
  Answer answer_;

 private:
  std::coroutine_handle<> waiting_;
  Scope* scope_ = nullptr;
  std::int32_t op_ = 0;
};

}  // namespace romancy::detail
