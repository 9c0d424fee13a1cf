// error: the exceptions a workflow or an activity meets or throws. Inside the library there are none (Result<T>).
//
//   in a workflow   ActivityError      an activity failed for good: its attempts are used up, or it said TerminalError
//                   TimedOut           nothing arrived on the channel within the time given to receive()
//                   WorkflowCancelled  somebody cancelled this instance (or this part of it); not a std::exception, see
//                                      below
//                   ChildError         a child workflow failed, was cancelled, or could not be started
//                   ChannelModeConflict  the channel is used in another mode
//                   SideEffectError    what ctx.side_effect() was given threw
//                   BadData            a JSON value does not convert; the text names the field
//   in an activity  TerminalError      throw it to say: trying again cannot help
//                   SqlError           a statement of a transactional activity failed (transaction.hpp)
//                   Stopped            asked to stop while it waited; not a std::exception, see below
//
// Any exception that leaves an activity fails that attempt; any that leaves a workflow runs its compensations and
// ends it. What is recorded is {"type", "message"}: the (demangled) name of the exception's type and its what().
#pragma once
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace romancy {

// Thrown by ctx.side_effect() when its function threw; recorded, so that every replay throws the same.
class SideEffectError : public std::runtime_error {
 public:
  SideEffectError(const std::string& name, std::string type, std::string message)
      : std::runtime_error("side effect " + name + ": " + type + ": " + message),
        type_(std::move(type)), message_(std::move(message)) {}
  // The name of the exception type, and its what().
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  std::string type_, message_;
};

// Thrown by `co_await ctx.run(..)`. Safe in replay: built from what history recorded.
class ActivityError : public std::runtime_error {
 public:
  ActivityError(std::string activity, std::string type, std::string message, int attempt)
      : std::runtime_error("activity " + activity + " failed at attempt " + std::to_string(attempt) + ": " + type +
                           ": " + message),
        activity_(std::move(activity)), type_(std::move(type)), message_(std::move(message)), attempt_(attempt) {}

  [[nodiscard]] const std::string& activity() const noexcept { return activity_; }
  // The name of the exception type the activity threw, or what a TerminalError gave as its type.
  // Ours: "UnknownActivity" (not linked into this program), "BadData" (input or result does not convert),
  // "AttemptTimedOut", "Stopped", "SqlError".
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  // The attempt that failed last, counted from 1. Of a result that does not convert: not counting those after short
  // pauses, which are not recorded.
  [[nodiscard]] int attempt() const noexcept { return attempt_; }

 private:
  std::string activity_, type_, message_;
  int attempt_;
};

// Thrown by `co_await ctx.child(..)` and `co_await child.result()`. Safe in replay.
class ChildError : public std::runtime_error {
 public:
  ChildError(std::string workflow, std::string id, std::string type, std::string message)
      : std::runtime_error("child " + id + " of workflow " + workflow + ": " + type + ": " + message),
        workflow_(std::move(workflow)), id_(std::move(id)), type_(std::move(type)), message_(std::move(message)) {}

  [[nodiscard]] const std::string& workflow() const noexcept { return workflow_; }
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  // What the child failed with. Ours: "WorkflowCancelled" (it was cancelled; message(): the reason), "ChildRefused" (an
  // instance with its id exists, or is being started by a transaction that is open), "BadData" (its output does not
  // convert).
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  std::string workflow_, id_, type_, message_;
};

// Thrown by `co_await ctx.receive(channel, {.within = ..})` when the time was over first.
class TimedOut : public std::runtime_error {
 public:
  explicit TimedOut(std::string channel)
      : std::runtime_error("nothing arrived in time on channel " + channel), channel_(std::move(channel)) {}
  [[nodiscard]] const std::string& channel() const noexcept { return channel_; }

 private:
  std::string channel_;
};

// Thrown by receive() on a channel to which this instance could not subscribe, because others use it in the other mode.
class ChannelModeConflict : public std::runtime_error {
 public:
  ChannelModeConflict(std::string channel, const std::string& message)
      : std::runtime_error(message), channel_(std::move(channel)) {}
  [[nodiscard]] const std::string& channel() const noexcept { return channel_; }

 private:
  std::string channel_;
};

// Thrown at the point where the workflow waits, and from then on at every later co_await outside of ctx.shield(),
// so that swallowing it by accident does not help. It is no std::exception on purpose: `catch (const std::exception&)`
// around an activity must not swallow a cancellation.
// A workflow that lets it pass ends as cancelled (after its compensations). One that catches it and returns a value
// ends as completed: it has decided that the work was done. One that catches it around every wait of a loop (`catch
// (...)`) is stopped after a while: it fails with the type CancellationIgnored.
class WorkflowCancelled {
 public:
  explicit WorkflowCancelled(std::string reason) : reason_(std::move(reason)) {}
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }  // empty when none was given

 private:
  std::string reason_;
};

// Throw it in an activity: the attempt fails and no other follows.
class TerminalError : public std::runtime_error {
 public:
  explicit TerminalError(const std::string& message, std::string type = "TerminalError")
      : std::runtime_error(message), type_(std::move(type)) {}
  // What ActivityError::type() will say: a word for the workflow to decide on, such as "CardDeclined".
  [[nodiscard]] const std::string& type() const noexcept { return type_; }

 private:
  std::string type_;
};

// Thrown where an activity waits (a statement, a pause, a descriptor, a completion) when its attempt is asked to stop:
// the instance was cancelled, its lease is lost, the time of the attempt is over, or the worker stops. Every later wait
// of the attempt throws it again. It is no std::exception, so that a handler around a wait does not swallow it by
// accident; recorded, if anybody still cares, as a failure of the type "Stopped". A blocking activity that looks at
// stop_requested() may throw it as well.
class Stopped {};

// A JSON text or value is refused: not JSON, does not convert, NaN, NUL, invalid UTF-8, too deep, too long.
// what() names where: "input: (/items/0/cents) type must be number, but is string".
class BadData : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

struct ErrorText {
  std::string type, message;
  bool terminal = false;
  bool retryable = false;
};
// What to record about the exception being handled; call it in a catch block. Valid UTF-8 without NUL, at most 8 kB.
ErrorText current_error() noexcept;

}  // namespace detail
}  // namespace romancy
