// host: what stands behind a Context: the run of one instance, inside the library. Text and plain values only.
//
// Ask is the base of every awaitable: it takes its operation number when it is made (program order, also when it is
// never awaited), is opened when it is awaited, and is answered once. The host knows open asks by their number; an ask
// that dies open (its coroutine was destroyed) takes itself back.
#pragma once
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <romancy/task.hpp>

namespace romancy::detail {

class Ask;

struct Answer {
  enum class Kind : std::uint8_t { none, value, timed_out, failed, cancelled };
  Kind kind = Kind::none;
  int attempt = 0;          // failed: the attempt that was the last
  std::string data{};       // value: JSON text; cancelled: the reason
  std::string error_type{}, error_message{};  // failed
};

class Host {
 public:
  virtual ~Host() = default;
  virtual std::int32_t next_op() = 0;

  // Each answers at once, or later through Ask::answer(). After a mismatch: never.
  virtual void open_activity(Ask& ask, const std::string& name, std::string input) = 0;
  virtual void open_sleep(Ask& ask, std::optional<std::chrono::microseconds> after,
                          std::optional<std::int64_t> at_micros) = 0;
  virtual void open_receive(Ask& ask, const std::string& channel, std::optional<std::chrono::microseconds> within) = 0;
  virtual void withdraw(std::int32_t op) noexcept = 0;

  virtual void subscribe(std::string_view channel, bool on) = 0;
  virtual void publish(std::string_view channel, std::string data, std::string metadata,
                       std::optional<std::string> to) = 0;
  virtual void send_event(std::string_view type, std::string_view source, std::string data,
                          std::string content_type) = 0;
  virtual void compensate_with(const std::string& activity, std::string input) = 0;

  virtual std::int64_t now_micros() = 0;
  virtual std::string uuid() = 0;
  virtual std::uint64_t random() = 0;
  virtual void shield(int change) noexcept = 0;  // +1: cancellation waits outside from here on; -1: no longer

  [[nodiscard]] virtual bool replaying() const noexcept = 0;
  [[nodiscard]] virtual bool cancelled() const noexcept = 0;
  [[nodiscard]] virtual const std::string& instance_id() const noexcept = 0;
  [[nodiscard]] virtual const std::string& workflow_name() const noexcept = 0;
};

class Ask {
 public:
  Ask(const Ask&) = delete;
  Ask& operator=(const Ask&) = delete;

  [[nodiscard]] std::int32_t op() const noexcept { return op_; }
  // For the host.
  void answer(Answer answer, Driver& driver) {
    answer_ = std::move(answer);
    if (waiting_) driver.post(waiting_);
  }
  void await_suspend(std::coroutine_handle<> waiting) noexcept { waiting_ = waiting; }

 protected:
  explicit Ask(Host& host) : host_(&host), op_(host.next_op()) {}
  ~Ask() {
    if (opened_ && answer_.kind == Answer::Kind::none) host_->withdraw(op_);
  }
  // True the first time: the caller shall open the ask with the host.
  [[nodiscard]] bool opening() noexcept { return !std::exchange(opened_, true); }
  [[nodiscard]] bool answered() const noexcept { return answer_.kind != Answer::Kind::none; }

  Host* host_;
  Answer answer_;

 private:
  std::coroutine_handle<> waiting_;
  std::int32_t op_;
  bool opened_ = false;
};

}  // namespace romancy::detail
