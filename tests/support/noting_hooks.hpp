// NotingHooks: writes down what a worker is told, a line a call, into a file that several workers share:
// "point|instance|generation|seq|operation", each in one write, so that lines of several processes do not mix.
// A point that is a row of history has the name of its kind.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <romancy/romancy.hpp>
#include <string>

namespace romancy::test {

class NotingHooks : public Hooks {
 public:
  explicit NotingHooks(const char* path) : fd_(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  ~NotingHooks() override { ::close(fd_); }
  NotingHooks(const NotingHooks&) = delete;
  NotingHooks& operator=(const NotingHooks&) = delete;

  void workflow_started(const Moment& at) override { note("started", at); }
  void workflow_completed(const Moment& at) override { note("completed", at); }
  void workflow_failed(const Moment& at) override { note("failed", at); }
  void workflow_cancelled(const Moment& at) override { note("cancelled", at); }
  void workflow_recurred(const Moment& at) override { note("recurred", at); }
  void cancel_requested(const Moment& at) override { note("cancel_requested", at); }
  void compensating(const Moment& at) override { note("compensating", at); }
  void compensation_decided(const Moment& at) override { note("compensation_decided", at); }
  void workflow_parked(const Moment& at) override { note("workflow_parked", at); }
  void replayed(const Moment& at, std::int64_t) override { note("replayed", at); }
  void attempt_started(const Moment& at, int attempt) override { note("attempt_started " + std::to_string(attempt), at); }
  void attempt_ended(const Moment& at, int attempt, bool ok) override {
    note("attempt_ended " + std::to_string(attempt) + (ok ? " ok" : " failed"), at);
  }
  void activity_completed(const Moment& at) override { note("activity_completed", at); }
  void activity_failed(const Moment& at) override { note("activity_failed", at); }
  void activity_retrying(const Moment& at) override { note("activity_retry", at); }
  void timer_started(const Moment& at) override { note("timer_started", at); }
  void timer_fired(const Moment& at) override { note("timer_fired", at); }
  void child_started(const Moment& at) override { note("child_started", at); }
  void child_completed(const Moment& at) override { note("child_completed", at); }
  void child_failed(const Moment& at) override { note("child_failed", at); }
  void start_sent(const Moment& at) override { note("start_sent", at); }
  void cancel_sent(const Moment& at) override { note("cancel_sent", at); }
  void patched(const Moment& at) override { note("patched", at); }
  void activity_queued(const Moment& at) override { note("activity_queued", at); }
  void wait_started(const Moment& at) override { note("wait_started", at); }
  void message_received(const Moment& at) override { note("message_received", at); }
  void wait_timed_out(const Moment& at) override { note("wait_timed_out", at); }
  void subscribed(const Moment& at) override { note("subscribed", at); }
  void unsubscribed(const Moment& at) override { note("unsubscribed", at); }
  void subscription_refused(const Moment& at) override { note("subscription_refused", at); }
  void published(const Moment& at) override { note("published", at); }
  void event_sent(const Moment& at) override { note("event_sent", at); }
  void joined(const Moment& at) override { note("joined", at); }
  void left(const Moment& at) override { note("left", at); }
  void side_effect(const Moment& at) override { note("side_effect", at); }

 private:
  void note(const std::string& point, const Moment& at) const {
    const std::string line = point + "|" + std::string(at.instance_id) + "|" + std::to_string(at.generation) + "|" +
                             std::to_string(at.seq) + "|" + std::to_string(at.op) + "\n";
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();  // the test would be wrong
  }
  int fd_;
};

// With the file that this variable of the environment names; nullptr: it names none.
template <class Noting = NotingHooks>
std::shared_ptr<Hooks> noting_hooks(const char* variable) {
  const char* path = std::getenv(variable);
  return path != nullptr ? std::make_shared<Noting>(path) : nullptr;
}

}  // namespace romancy::test
