// Task<T>: the coroutine type of workflows and of the coroutines they are made of.
//
//   Task<Receipt> pay(Context& ctx, Order order) { ... co_return receipt; }      // parameters by value
//   Receipt r = co_await pay(ctx, order);
//
// Starts when it is awaited, is awaited once, and hands on its value or its exception. Destroying a Task that waits
// destroys everything in it, innermost last; that is how a sleeping workflow leaves memory, so destructors must
// have no effect outside memory.
//
// Inside a Task only Tasks and what Context gives may be awaited: anything else could not be replayed.
//
// Stack: a Task never resumes another one by itself. It names who is next to its Driver and returns, because symmetric
// transfer is only a tail call with optimisation on: at -O0 and under ASan it overflows after some 10,000 awaits.
#pragma once
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <romancy/detail/coroutine.hpp>

namespace romancy {

template <class T>
class Task;
template <class T>
class Future;

namespace detail {

template <class T>
class AwaitingFuture;  // concurrent.hpp
template <class T>
AwaitingFuture<T> awaiting_future(const Future<T>& future);

// Scope: how far a cancellation reaches. Every coroutine runs in one; Futures and romancy::Scope make inner ones. The
// outermost is the instance's own: cancel_workflow() cancels it.
struct Scope : std::enable_shared_from_this<Scope> {
  explicit Scope(std::shared_ptr<Scope> outer = {}, bool shield = false) : above(std::move(outer)), shielded(shield) {}
  std::shared_ptr<Scope> above;
  bool shielded;           // what is cancelled above stops here
  bool cancelled = false;  // for good
  std::string reason{};

  // Whose cancellation the code in this scope sees; nullptr: none.
  [[nodiscard]] const Scope* cancelled_by() const noexcept {
    for (const Scope* at = this; at != nullptr; at = at->shielded ? nullptr : at->above.get()) {
      if (at->cancelled) return at;
    }
    return nullptr;
  }
  // The cancellation of the instance would be seen here.
  [[nodiscard]] bool open_to_the_top() const noexcept {
    for (const Scope* at = this; at != nullptr; at = at->above.get()) {
      if (at->shielded) return false;
    }
    return true;
  }
};

// Runs what is ready, one after the other, on the stack of whoever called run().
class Driver {
 public:
  void post(std::coroutine_handle<> next, Scope* scope) { ready_.push_back({next, scope}); }
  void run() {
    while (head_ < ready_.size()) {
      const auto next = ready_[head_++];
      if (head_ == ready_.size()) {
        ready_.clear();
        head_ = 0;
      }
      if (next.coroutine) enter(next.coroutine, next.scope);
    }
  }
  // Runs it until it waits, now.
  void enter(std::coroutine_handle<> coroutine, Scope* scope) {
    Scope* const before = std::exchange(scope_, scope);
    coroutine.resume();
    scope_ = before;
  }
  // The coroutine is about to be destroyed: whatever it was to be told, it will not hear.
  void forget(std::coroutine_handle<> coroutine) noexcept {
    for (std::size_t i = head_; i < ready_.size(); ++i) {
      if (ready_[i].coroutine == coroutine) ready_[i].coroutine = nullptr;
    }
  }
  // The scope of whatever runs outside of enter(): destructors of code that leaves memory.
  void at_rest(Scope& scope) noexcept { scope_ = &scope; }
  // The scope of the code that is running.
  [[nodiscard]] Scope* scope() const noexcept { return scope_; }

 private:
  struct Entry {
    std::coroutine_handle<> coroutine;
    Scope* scope;
  };
  std::vector<Entry> ready_;
  std::size_t head_ = 0;
  Scope* scope_ = nullptr;
};

// Who is told that a task ended which nobody awaits: the owner of a branch.
class Watcher {
 public:
  virtual void ended() noexcept = 0;

 protected:
  ~Watcher() = default;
};

// What may stand behind co_await in a Task, beside Tasks: everything Context gives derives from it.
struct Awaitable {};

template <class A>
inline constexpr bool kIsTask = false;
template <class T>
inline constexpr bool kIsTask<Task<T>> = true;

// What the coroutine really awaits: the address of the operand, which lives to the end of the full expression. (g++ 12
// copies whatever await_transform returns by reference, and most awaitables here cannot be copied.)
template <class A>
struct Awaiting {
  A* operand;
  bool await_ready() { return operand->await_ready(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> waiting) {
    operand->await_suspend(waiting);
  }
  decltype(auto) await_resume() { return operand->await_resume(); }
};

struct PromiseBase {
  Driver* driver = nullptr;              // set by who starts the task
  Scope* scope = nullptr;                // set by who starts it, or by Task::within()
  std::coroutine_handle<> continuation;  // who awaits it; none for the outermost and for branches
  Scope* continuation_scope = nullptr;
  Watcher* watcher = nullptr;
  std::exception_ptr error;

  struct Final {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      auto& promise = self.promise();
      if (promise.continuation) {
        promise.driver->post(promise.continuation, promise.continuation_scope);
      } else if (promise.watcher != nullptr) {
        promise.watcher->ended();
      }
    }
    void await_resume() const noexcept {}
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { error = std::current_exception(); }

  template <class T>
  auto await_transform(const Future<T>& future) const {
    return awaiting_future(future);
  }
  template <class T>
  auto await_transform(Future<T>& future) const {
    return awaiting_future(future);
  }
  template <class T>
  auto await_transform(Future<T>&& future) const {
    return awaiting_future(future);
  }
  template <class A>
  Awaiting<std::remove_reference_t<A>> await_transform(A&& awaitable) const noexcept {
    using Plain = std::remove_cvref_t<A>;
    static_assert(kIsTask<Plain> || std::is_base_of_v<Awaitable, Plain>,
                  "romancy: a workflow may only co_await what Context gives and other romancy::Tasks");
    static_assert(!kIsTask<Plain> || !std::is_lvalue_reference_v<A>,
                  "romancy: a Task is awaited once: co_await std::move(task)");
    return {&awaitable};
  }
};

template <class T>
struct Promise : ResultPromise<T, PromiseBase> {
  Task<T> get_return_object() noexcept;
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  static_assert(std::is_void_v<T> || (std::is_object_v<T> && !std::is_const_v<T>),
                "romancy: Task<T> gives a value: T is no reference and not const");
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() noexcept = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { destroy(); }

  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(handle_); }
  [[nodiscard]] bool done() const noexcept { return handle_ && handle_.done(); }

  [[nodiscard]] bool failed() const noexcept { return done() && handle_.promise().error != nullptr; }

  // For the engine and for branches: a task that nobody awaits. Runs until it waits, now; `watcher` is told when it
  // ends. take() when done(): the value, or throws.
  void start(detail::Driver& driver, detail::Scope& scope, detail::Watcher* watcher = nullptr) {
    need_unused();
    auto& promise = handle_.promise();
    promise.driver = &driver;
    promise.scope = &scope;
    promise.watcher = watcher;
    driver.enter(handle_, &scope);
  }
  T take() { return handle_.promise().take(); }
  // It will run in this scope, which must outlive it, and not in that of whoever awaits it.
  void within(detail::Scope& scope) noexcept { handle_.promise().scope = &scope; }

  // For co_await.
  [[nodiscard]] bool await_ready() const {
    need_unused();
    return false;
  }
  template <class Parent>
  void await_suspend(std::coroutine_handle<Parent> parent) {
    auto& promise = handle_.promise();
    promise.continuation = parent;
    promise.driver = parent.promise().driver;
    promise.continuation_scope = parent.promise().scope;
    if (promise.scope == nullptr) promise.scope = parent.promise().scope;
    promise.driver->post(handle_, promise.scope);
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  friend promise_type;
  explicit Task(Handle handle) noexcept : handle_(handle) {}
  void need_unused() const {
    if (!handle_ || handle_.promise().driver != nullptr) {
      throw std::logic_error("romancy::Task: awaited twice, or moved away");
    }
  }
  void destroy() noexcept {
    if (!handle_) return;
    if (auto* driver = handle_.promise().driver) driver->forget(handle_);
    handle_.destroy();
  }
  Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() noexcept {
  return Task<T>(Task<T>::Handle::from_promise(*this));
}

}  // namespace romancy
