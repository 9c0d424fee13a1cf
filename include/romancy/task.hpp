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
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace romancy {

template <class T>
class Task;

namespace detail {

// Runs what is ready, one after the other, on the stack of whoever called run().
class Driver {
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

// What an awaitable of Context derives from; see context.hpp.
class Ask;

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
  Driver* driver = nullptr;               // set by who starts the task
  std::coroutine_handle<> continuation;   // who awaits it; none for the outermost
  std::exception_ptr error;

  struct Final {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      auto& promise = self.promise();
      if (promise.continuation) promise.driver->post(promise.continuation);
    }
    void await_resume() const noexcept {}
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { error = std::current_exception(); }

  template <class A>
  Awaiting<std::remove_reference_t<A>> await_transform(A&& awaitable) const noexcept {
    using Plain = std::remove_cvref_t<A>;
    static_assert(kIsTask<Plain> || std::is_base_of_v<Ask, Plain>,
                  "romancy: a workflow may only co_await what Context gives and other romancy::Tasks");
    static_assert(!kIsTask<Plain> || !std::is_lvalue_reference_v<A>,
                  "romancy: a Task is awaited once: co_await std::move(task)");
    return {&awaitable};
  }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object() noexcept;
  template <class U>
    requires std::is_convertible_v<U&&, T>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    if (error) std::rethrow_exception(error);
    return std::move(*value);
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const {
    if (error) std::rethrow_exception(error);
  }
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
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(handle_); }
  [[nodiscard]] bool done() const noexcept { return handle_ && handle_.done(); }

  // For the engine: the outermost task of a workflow. start() once; take() when done(): the value, or throws.
  void start(detail::Driver& driver) {
    handle_.promise().driver = &driver;
    driver.post(handle_);
  }
  T take() { return handle_.promise().take(); }

  // For co_await.
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Parent>
  void await_suspend(std::coroutine_handle<Parent> parent) {
    auto& promise = handle_.promise();
    promise.continuation = parent;
    promise.driver = parent.promise().driver;
    promise.driver->post(handle_);
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  friend promise_type;
  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() noexcept {
  return Task<T>(Task<T>::Handle::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() noexcept {
  return Task<void>(Task<void>::Handle::from_promise(*this));
}

}  // namespace romancy
