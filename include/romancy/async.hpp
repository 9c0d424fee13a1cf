// async: an activity that waits without a thread. For thousands of waits at once: polling other systems, sockets, calls
// whose answer comes by a callback.
//
//   const auto poll = romancy::async_activity("poll",
//       [](romancy::AsyncAttempt& at, Job job) -> romancy::Async<State> {
//         for (;;) {
//           State state = co_await ask(at, job);                     // another Async<State>
//           if (state.ended) co_return state;
//           co_await at.sleep(50ms);
//         }
//       });
//
// The coroutine runs on the worker's loop, between its waits: it must not block, and it must not compute for long, or
// everything else in this process stands still. Blocking calls belong into romancy::activity().
//
// It may await: at.sleep(..), at.readable(fd), at.writable(fd), at.completed<T>(..), and other Asyncs. Parameters by
// value, except AsyncAttempt&, which lives as long as the attempt.
// Stop (cancelled, lease lost, time-out, drain): the wait under way throws Stopped at once, and so does every later one.
// A time-out fails the attempt even before that; what the coroutine does on its way out is its own affair.
// As many as worker.async_activities run at once in a process; more wait for their turn.
#pragma once
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <romancy/activity.hpp>
#include <romancy/detail/coroutine.hpp>

namespace romancy {

template <class T>
class Async;

namespace detail {

// Coroutines that are ready, run one after the other on the stack of whoever called run(). (Resuming each other would
// overflow the stack where a tail call is none: see task.hpp.)
class AsyncRunner {
 public:
  void post(std::coroutine_handle<> next) { ready_.push_back(next); }
  void run() {
    while (head_ < ready_.size()) {
      const auto next = ready_[head_++];
      if (head_ == ready_.size()) {
        ready_.clear();
        head_ = 0;
      }
      next.resume();
    }
  }

 private:
  std::vector<std::coroutine_handle<>> ready_;
  std::size_t head_ = 0;
};

// What a coroutine waits for; it lives in the coroutine's frame while it waits.
struct AsyncWait {
  enum class Kind { sleep, readable, writable, completion };
  Kind kind{};
  std::chrono::nanoseconds pause{0};
  int fd = -1;
  int fd_error = 0;      // errno: the descriptor cannot be waited for
  bool stopped = false;  // the attempt was asked to stop
  std::coroutine_handle<> waiting;
};

// The engine's side of one attempt, on the loop; wake() is for any thread, also when the attempt is long gone.
class AsyncHost {
 public:
  virtual void wait(AsyncWait& wait) = 0;     // resumes wait.waiting later, never from within; soon when stopped
  virtual std::function<void()> waker() = 0;  // ends the next wait

 protected:
  ~AsyncHost() = default;
};

struct AsyncPromiseBase {
  AsyncRunner* runner = nullptr;
  std::coroutine_handle<> continuation;
  std::exception_ptr error;

  struct Final {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      auto& promise = self.promise();
      if (promise.continuation) promise.runner->post(promise.continuation);
    }
    void await_resume() const noexcept {}
  };
  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { error = std::current_exception(); }
};

template <class T>
struct AsyncPromise : ResultPromise<T, AsyncPromiseBase> {
  Async<T> get_return_object() noexcept;
};

}  // namespace detail

// The coroutine type of asynchronous activities and of what they are made of. Starts when it is awaited; awaited once.
template <class T = void>
class [[nodiscard]] Async {
 public:
  using promise_type = detail::AsyncPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Async() noexcept = default;
  Async(Async&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Async& operator=(Async&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  Async(const Async&) = delete;
  Async& operator=(const Async&) = delete;
  ~Async() {
    if (handle_) handle_.destroy();
  }

  // For the engine.
  [[nodiscard]] bool done() const noexcept { return handle_ && handle_.done(); }
  void start(detail::AsyncRunner& runner) {
    handle_.promise().runner = &runner;
    runner.post(handle_);
  }
  T take() { return handle_.promise().take(); }

  // For co_await.
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Parent>
  void await_suspend(std::coroutine_handle<Parent> parent) {
    auto& promise = handle_.promise();
    promise.continuation = parent;
    promise.runner = parent.promise().runner;
    promise.runner->post(handle_);
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  friend promise_type;
  explicit Async(Handle handle) noexcept : handle_(handle) {}
  Handle handle_;
};

template <class T>
Async<T> detail::AsyncPromise<T>::get_return_object() noexcept {
  return Async<T>(Async<T>::Handle::from_promise(*this));
}

// Thrown by completed() when it was told fail(type, message). What the workflow sees has that type.
class CompletionFailed : public std::runtime_error {
 public:
  CompletionFailed(std::string type, const std::string& message) : std::runtime_error(message), type_(std::move(type)) {}
  [[nodiscard]] const std::string& type() const noexcept { return type_; }

 private:
  std::string type_;
};

namespace detail {

template <class T>
using OrUnit = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
struct CompletionState {
  std::mutex mutex;
  bool told = false;  // under the mutex, as the two below
  std::optional<OrUnit<T>> value;
  std::exception_ptr error;
  std::function<void()> wake;  // set once, before anybody else knows this

  // False: it was told already.
  bool tell(std::optional<OrUnit<T>> result, std::exception_ptr failure) {
    {
      const std::lock_guard lock(mutex);
      if (std::exchange(told, true)) return false;
      value = std::move(result);
      error = std::move(failure);
    }
    wake();
    return true;
  }
};

}  // namespace detail

// How a callback, on any thread, ends a completed(). Copies tell the same; the first word counts, later ones and those
// for an attempt that is over are ignored. When the last copy goes untold, completed() throws CompletionFailed
// "NeverCompleted".
template <class T>
class Completion {
 public:
  explicit Completion(std::shared_ptr<detail::CompletionState<T>> state) : last_(std::make_shared<Last>(std::move(state))) {}

  void operator()(detail::OrUnit<T> value = {}) const { last_->state->tell(std::move(value), nullptr); }
  void fail(std::string type, const std::string& message) const {
    last_->state->tell(std::nullopt, std::make_exception_ptr(CompletionFailed(std::move(type), message)));
  }

 private:
  struct Last {
    explicit Last(std::shared_ptr<detail::CompletionState<T>> of) : state(std::move(of)) {}
    Last(const Last&) = delete;
    Last& operator=(const Last&) = delete;
    ~Last() {
      state->tell(std::nullopt, std::make_exception_ptr(CompletionFailed("NeverCompleted", "nobody completed it")));
    }
    std::shared_ptr<detail::CompletionState<T>> state;
  };
  std::shared_ptr<Last> last_;
};

// One attempt of an asynchronous activity. On the loop's thread only.
class AsyncAttempt : public Attempt {
 public:
  AsyncAttempt(std::string instance_id, int number, std::string key, std::stop_token stop, detail::AsyncHost& host)
      : Attempt(std::move(instance_id), number, std::move(key), std::move(stop)), host_(host) {}

  // All throw Stopped when the attempt is asked to stop. Await them at once: co_await at.sleep(1s).
  [[nodiscard]] auto sleep(std::chrono::nanoseconds pause) {
    return Waiting{host_, {.kind = detail::AsyncWait::Kind::sleep, .pause = pause, .waiting = {}}};
  }
  // Until the descriptor can be read or written, or has an error or end (the call that follows says so). Yours to keep
  // open, non-blocking, and to close. Throws std::system_error when it is none. A file is always ready.
  [[nodiscard]] auto readable(int fd) {
    return Waiting{host_, {.kind = detail::AsyncWait::Kind::readable, .fd = fd, .waiting = {}}};
  }
  [[nodiscard]] auto writable(int fd) {
    return Waiting{host_, {.kind = detail::AsyncWait::Kind::writable, .fd = fd, .waiting = {}}};
  }
  // Calls begin(done) at once, on the loop, and waits until somebody, on any thread, says done(value) or
  // done.fail(type, message): T, or CompletionFailed. `begin` starts something and keeps a copy of `done`.
  // With g++ 12 a `begin` that owns something (a lambda that captured a string) must be a named variable, as the inputs of
  // activities (context.hpp).
  template <class T, class F>
  [[nodiscard]] auto completed(F&& begin) {
    using Begin = std::remove_cvref_t<F>;
    static_assert(std::is_lvalue_reference_v<F> || !detail::kMustBeNamed<Begin>,
                  "romancy: g++ 12 would free what this callback captured twice: name it first, auto begin = [..]; "
                  "co_await at.completed<T>(begin)");
    return Completing<T, Begin>(host_, *this, std::forward<F>(begin));
  }

 private:
  struct Waiting {
    detail::AsyncHost& host;
    detail::AsyncWait wait;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiting) {
      wait.waiting = waiting;
      host.wait(wait);
    }
    void await_resume() const { check(wait); }
  };
  // (No aggregate: g++ 12 destroys those twice in a co_await expression.)
  template <class T, class F>
  class Completing {
   public:
    Completing(detail::AsyncHost& host, const Attempt& attempt, F begin)
        : waiting_{host, {.kind = detail::AsyncWait::Kind::completion, .waiting = {}}},
          attempt_(attempt),
          begin_(std::move(begin)),
          state_(std::make_shared<detail::CompletionState<T>>()) {}
    Completing(const Completing&) = delete;
    Completing& operator=(const Completing&) = delete;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      state_->wake = waiting_.host.waker();
      // What it throws leaves the co_await; so the wait begins after it. A word that comes before is not lost: it is
      // posted to the loop, and that is us.
      if (!attempt_.stop_requested()) begin_(Completion<T>(state_));
      waiting_.await_suspend(handle);
    }
    T await_resume() {
      check(waiting_.wait);
      const std::lock_guard lock(state_->mutex);
      if (state_->error) std::rethrow_exception(state_->error);
      if constexpr (!std::is_void_v<T>) return std::move(*state_->value);
    }

   private:
    Waiting waiting_;
    const Attempt& attempt_;
    F begin_;
    std::shared_ptr<detail::CompletionState<T>> state_;
  };
  static void check(const detail::AsyncWait& wait);
  detail::AsyncHost& host_;
};

namespace detail {

class AsyncDefinition : public ActivityDefinition {
 public:
  AsyncDefinition(std::string name, ActivityOptions options)
      : ActivityDefinition(std::move(name), ActivityKind::asynchronous, std::move(options)) {}
  // The result as JSON text. Must outlive the coroutine: a lambda's captures live in the definition.
  virtual Async<std::string> start(AsyncAttempt& attempt, std::string input) const = 0;
};

template <class A>
struct AsyncResult {
  static constexpr bool kIs = false;
  using Type = void;
};
template <class T>
struct AsyncResult<Async<T>> {
  static constexpr bool kIs = true;
  using Type = T;
};

template <class F, class In, class Out>
class AsyncOf final : public AsyncDefinition {
 public:
  AsyncOf(std::string name, F function, ActivityOptions options)
      : AsyncDefinition(std::move(name), std::move(options)), function_(std::move(function)) {}

  Async<std::string> start(AsyncAttempt& attempt, std::string input) const override {
    if constexpr (std::is_void_v<In>) {
      if constexpr (std::is_void_v<Out>) {
        co_await function_(attempt);
        co_return "null";
      } else {
        co_return to_text(co_await function_(attempt), "result");
      }
    } else {
      In value = from_text<In>(input, "input");
      if constexpr (std::is_void_v<Out>) {
        co_await function_(attempt, std::move(value));
        co_return "null";
      } else {
        co_return to_text(co_await function_(attempt, std::move(value)), "result");
      }
    }
  }

 private:
  F function_;
};

}  // namespace detail

template <class F>
auto async_activity(std::string name, F function, ActivityOptions options = {}) {
  constexpr auto kWrong = detail::wrong_activity<F, AsyncAttempt, detail::AsyncResult, true>();
  detail::explain_activity<kWrong>();
  if constexpr (kWrong == detail::Wrong::nothing) {
    using Call = detail::ActivityCall<F>;
    using In = typename Call::In;
    using Out = typename detail::AsyncResult<typename Call::Result>::Type;
    return Activity<In, Out>(
        std::make_shared<const detail::AsyncOf<F, In, Out>>(std::move(name), std::move(function), std::move(options)));
  } else {
    return Activity<Json, Json>(nullptr);
  }
}

}  // namespace romancy
