// concurrent: several things at once in one workflow. All of it replays: branches begin and end in the order that
// history recorded.
//
//   auto [a, b] = co_await ctx.when_all(ctx.run(charge, o), ctx.receive<Json>("address"));   both; the first error ends it
//   auto first = co_await ctx.when_any(ctx.receive<Json>("paid"), ctx.sleep(24h));           whichever is first
//   if (first.index() == 0) use(first.get<0>());
//
//   Future<Receipt> f = ctx.start(ctx.run(charge, o));   begins now
//   Receipt r = co_await f;                              its value, or its error; once
//   f.cancel("changed my mind");                         what it waits for throws WorkflowCancelled
//
//   romancy::Scope scope(ctx);                           what is started in it is cancelled together
//   auto g = scope.start(fetch(ctx, url));
//   scope.cancel();
//
// What may stand for a branch: anything Context gives to co_await, a Task, or (when_all, when_any) a Future by
// reference, which goes on if it does not win.
//
// A branch that nobody waits for any more (it lost, its Future was dropped, a neighbour of when_all failed) is taken
// back: its coroutine is destroyed where it waits, its timers and waits go, activities that have not begun do not
// begin. One that is under way is asked to stop; what it does cannot be undone, and its result is not recorded. A
// message that arrived for a wait that was taken back stays for the next receive, or goes back to its competing channel.
// The error of a branch that nobody awaits is dropped with it. A branch must not drop its own Future, nor one whose code
// is starting it at that moment.
//
// A cancellation is seen by what the engine answers (activities, timers, messages). Waiting for Futures is not
// interrupted by itself: those begun in the cancelled scope fail, those in a shield come to their end, and one that was
// begun outside of that scope is waited for.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <romancy/detail/host.hpp>
#include <romancy/task.hpp>

namespace romancy {

namespace detail {

class BranchBase;

// Who waits for branches: told in the order in which they end.
class Group {
 public:
  virtual void ended(BranchBase& branch) noexcept = 0;

 protected:
  ~Group() = default;
};

class BranchBase : public Watcher {
 public:
  BranchBase(Host& host, std::shared_ptr<Scope> outer)
      : host_(host), scope_(std::make_shared<Scope>(std::move(outer))) {}
  BranchBase(const BranchBase&) = delete;
  BranchBase& operator=(const BranchBase&) = delete;

  [[nodiscard]] bool done() const noexcept { return done_; }
  void group(Group* group) {
    if (group != nullptr && group_ != nullptr) throw std::logic_error("romancy::Future: awaited by two at once");
    group_ = group;
  }
  void leave(const Group* group) noexcept {
    if (group_ == group) group_ = nullptr;
  }
  void cancel(std::string reason) {
    if (done_ || scope_->cancelled) return;
    scope_->cancelled = true;
    scope_->reason = std::move(reason);
    host_.strike();
  }
  [[nodiscard]] Host& host() const noexcept { return host_; }
  [[nodiscard]] virtual bool failed() const noexcept = 0;

 protected:
  ~BranchBase() = default;
  void ended() noexcept final {
    done_ = true;
    if (group_ != nullptr) group_->ended(*this);
  }
  Host& host_;
  std::shared_ptr<Scope> scope_;  // before the task of the derived class: outlives it

 private:
  Group* group_ = nullptr;
  bool done_ = false;
};

template <class T>
class Branch final : public BranchBase {
 public:
  Branch(Host& host, std::shared_ptr<Scope> outer, Task<T> task)
      : BranchBase(host, std::move(outer)), task_(std::move(task)) {}
  void begin() { task_.start(host_.driver(), *scope_, this); }
  [[nodiscard]] bool failed() const noexcept override { return task_.failed(); }
  T take() {
    if (std::exchange(taken_, true)) throw std::logic_error("romancy::Future: awaited twice");
    return task_.take();
  }

 private:
  Task<T> task_;
  bool taken_ = false;
};

template <class A>
inline constexpr bool kIsFuture = false;
template <class T>
inline constexpr bool kIsFuture<Future<T>> = true;

template <class A>
struct ResultOf {
  using Type = decltype(std::declval<A&>().await_resume());
};
template <class T>
struct ResultOf<Task<T>> {
  using Type = T;
};
template <class T>
struct ResultOf<Future<T>> {
  using Type = T;
};
template <class A>
using Result = typename ResultOf<std::remove_cvref_t<A>>::Type;
// In a tuple or a variant there is no void.
template <class A>
using Held = std::conditional_t<std::is_void_v<Result<A>>, std::monostate, Result<A>>;

template <class A>
Task<Result<A>> awaited(A awaitable) {
  co_return co_await awaitable;
}

template <class A>
Task<Result<A>> as_task(A&& given) {
  using Plain = std::remove_cvref_t<A>;
  static_assert(kIsTask<Plain> || std::is_base_of_v<Awaitable, Plain>,
                "romancy: a branch is something Context gives to co_await, a romancy::Task, or a Future");
  static_assert(!std::is_lvalue_reference_v<A>, "romancy: move it: a branch owns what it waits for");
  if constexpr (kIsTask<Plain>) {
    return std::forward<A>(given);
  } else {
    return awaited<Plain>(std::forward<A>(given));
  }
}

template <class A>
std::shared_ptr<Branch<Result<A>>> make_branch(Host& host, Scope& outer, A&& given) {
  return std::make_shared<Branch<Result<A>>>(host, outer.shared_from_this(), as_task(std::forward<A>(given)));
}

// The branch of a when_all or when_any: its own, or that of a Future that somebody keeps.
template <class A>
class Slot {
 public:
  Slot(std::shared_ptr<Branch<Result<A>>> branch, bool own) : branch_(std::move(branch)), own_(own) {}
  void begin() {
    if (own_) branch_->begin();
  }
  [[nodiscard]] Branch<Result<A>>* branch() const noexcept { return branch_.get(); }
  Held<A> take() {
    if constexpr (std::is_void_v<Result<A>>) {
      branch_->take();
      return {};
    } else {
      return branch_->take();
    }
  }
  void drop(const Group* group) {
    if (branch_) branch_->leave(group);
    branch_.reset();
  }

 private:
  std::shared_ptr<Branch<Result<A>>> branch_;
  bool own_;
};

template <class A>
Slot<std::remove_cvref_t<A>> slot_of(Host& host, A&& given) {
  using Plain = std::remove_cvref_t<A>;
  if constexpr (kIsFuture<Plain>) {
    static_assert(std::is_lvalue_reference_v<A>, "romancy: name the Future: it must outlive the wait");
    return Slot<Plain>(given.branch(), false);
  } else {
    return Slot<Plain>(make_branch(host, *host.driver().scope(), std::forward<A>(given)), true);
  }
}

// Waits for branches. Base of what co_await sees; lives in the frame of the waiting coroutine.
class Wait : public Awaitable, protected Group {
 public:
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  void await_suspend(std::coroutine_handle<> waiting) noexcept { waiting_ = waiting; }

 protected:
  explicit Wait(Host& host) : host_(host) {}
  ~Wait() = default;

  // The wait is over. Once; the coroutine goes on when the driver comes to it.
  void over() {
    if (std::exchange(over_, true) || !waiting_) return;
    host_.driver().post(waiting_, scope_);
  }
  [[nodiscard]] bool is_over() const noexcept { return over_; }
  void note_scope() {
    if (scope_ != nullptr) throw std::logic_error("romancy: when_all, when_any, wait_any or wait_all: awaited twice");
    scope_ = host_.driver().scope();
  }
  Host& host_;

 private:
  std::coroutine_handle<> waiting_;
  Scope* scope_ = nullptr;
  bool over_ = false;
};

template <class... A>
class WhenBase : public Wait {
 protected:
  WhenBase(Host& host, Slot<A>... slots) : Wait(host), slots_(std::move(slots)...) {}
  ~WhenBase() { drop(); }

  void begin_all() {
    note_scope();
    std::apply([this](auto&... slot) { (this->begin(slot), ...); }, slots_);
  }
  void drop() {
    std::apply([this](auto&... slot) { (slot.drop(this), ...); }, slots_);
  }
  [[nodiscard]] std::size_t index_of(const BranchBase& branch) const {
    std::size_t index = 0, found = sizeof...(A);
    std::apply([&](const auto&... slot) { ((slot.branch() == &branch ? void(found = index++) : void(++index)), ...); },
               slots_);
    return found;
  }
  std::tuple<Slot<A>...> slots_;

 private:
  template <class S>
  void begin(S& slot) {
    slot.branch()->group(this);
    if (slot.branch()->done()) this->ended(*slot.branch());  // a Future that was ready
    else slot.begin();
  }
};

template <class... A>
class WhenAll final : public WhenBase<A...> {
 public:
  WhenAll(Host& host, Slot<A>... slots) : WhenBase<A...>(host, std::move(slots)...) {}
  bool await_ready() {
    this->begin_all();
    return this->is_over();
  }
  std::tuple<Held<A>...> await_resume() {
    if (failed_ < sizeof...(A)) throw_failed(std::index_sequence_for<A...>());
    return std::apply([](auto&... slot) { return std::tuple<Held<A>...>{slot.take()...}; }, this->slots_);
  }

 private:
  void ended(BranchBase& branch) noexcept override {
    if (failed_ == sizeof...(A) && branch.failed()) failed_ = this->index_of(branch);
    if (--left_ == 0 || failed_ < sizeof...(A)) this->over();
  }
  template <std::size_t... I>
  void throw_failed(std::index_sequence<I...>) {
    ((I == failed_ ? void(std::get<I>(this->slots_).take()) : void()), ...);
  }
  std::size_t left_ = sizeof...(A);
  std::size_t failed_ = sizeof...(A);  // the first that failed; none
};

}  // namespace detail

// Which of the branches of when_any was first, and its value.
template <class... T>
class AnyOf {
 public:
  using Variant = std::variant<T...>;
  explicit AnyOf(Variant value) : value_(std::move(value)) {}
  [[nodiscard]] std::size_t index() const noexcept { return value_.index(); }
  // Throws std::bad_variant_access when another one was first.
  template <std::size_t I>
  [[nodiscard]] const auto& get() const& {
    return std::get<I>(value_);
  }
  template <std::size_t I>
  [[nodiscard]] auto get() && {
    return std::get<I>(std::move(value_));
  }

 private:
  Variant value_;
};

namespace detail {

template <class... A>
class WhenAny final : public WhenBase<A...> {
 public:
  WhenAny(Host& host, Slot<A>... slots) : WhenBase<A...>(host, std::move(slots)...) {}
  bool await_ready() {
    this->begin_all();
    return this->is_over();
  }
  AnyOf<Held<A>...> await_resume() {
    auto value = first_value(std::index_sequence_for<A...>());  // throws what the first one threw
    this->drop();                                               // the others are over before the workflow goes on
    return AnyOf<Held<A>...>(std::move(*value));
  }

 private:
  using Variant = std::variant<Held<A>...>;
  void ended(BranchBase& branch) noexcept override {
    if (first_ == sizeof...(A)) first_ = this->index_of(branch);
    this->over();
  }
  template <std::size_t... I>
  std::optional<Variant> first_value(std::index_sequence<I...>) {
    std::optional<Variant> value;
    ((I == first_ ? void(value.emplace(std::in_place_index<I>, std::get<I>(this->slots_).take())) : void()), ...);
    return value;
  }
  std::size_t first_ = sizeof...(A);
};

template <class T>
class WaitAny final : public Wait {
 public:
  WaitAny(Host& host, std::vector<std::shared_ptr<Branch<T>>> branches) : Wait(host), branches_(std::move(branches)) {}
  ~WaitAny() {
    for (auto& branch : branches_) branch->leave(this);
  }
  bool await_ready() {
    note_scope();
    if (branches_.empty()) throw std::invalid_argument("wait_any: there is nothing to wait for");
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      branches_[i]->group(this);
      if (first_ == kNone && branches_[i]->done()) first_ = i;
    }
    return first_ != kNone;
  }
  std::size_t await_resume() const noexcept { return first_; }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  void ended(BranchBase& branch) noexcept override {
    for (std::size_t i = 0; first_ == kNone && i < branches_.size(); ++i) {
      if (branches_[i].get() == &branch) first_ = i;
    }
    over();
  }
  std::vector<std::shared_ptr<Branch<T>>> branches_;
  std::size_t first_ = kNone;
};

template <class T>
class WaitAll final : public Wait {
 public:
  WaitAll(Host& host, std::vector<std::shared_ptr<Branch<T>>> branches) : Wait(host), branches_(std::move(branches)) {}
  ~WaitAll() {
    for (auto& branch : branches_) branch->leave(this);
  }
  bool await_ready() {
    note_scope();
    for (auto& branch : branches_) {
      branch->group(this);
      if (!branch->done()) ++left_;
      else if (failed_ == nullptr && branch->failed()) failed_ = branch.get();
    }
    return left_ == 0 || failed_ != nullptr;
  }
  auto await_resume() {
    if (failed_ != nullptr) failed_->take();
    if constexpr (std::is_void_v<T>) {
      for (auto& branch : branches_) branch->take();
    } else {
      std::vector<T> all;
      all.reserve(branches_.size());
      for (auto& branch : branches_) all.push_back(branch->take());
      return all;
    }
  }

 private:
  void ended(BranchBase& branch) noexcept override {
    if (failed_ == nullptr && branch.failed()) failed_ = static_cast<Branch<T>*>(&branch);
    if (--left_ == 0 || failed_ != nullptr) over();
  }
  std::vector<std::shared_ptr<Branch<T>>> branches_;
  std::size_t left_ = 0;
  Branch<T>* failed_ = nullptr;
};

}  // namespace detail

// Something that was started and goes on beside the code that started it. Only moves. Dropping it takes it back.
template <class T>
class [[nodiscard]] Future {
 public:
  Future() noexcept = default;
  explicit Future(std::shared_ptr<detail::Branch<T>> branch) : branch_(std::move(branch)) {}
  Future(Future&&) noexcept = default;
  Future& operator=(Future&&) noexcept = default;
  Future(const Future&) = delete;
  Future& operator=(const Future&) = delete;
  ~Future() = default;

  [[nodiscard]] bool valid() const noexcept { return branch_ != nullptr; }
  // It has ended, well or badly: co_await will not wait.
  [[nodiscard]] bool ready() const noexcept { return branch_ && branch_->done(); }
  // What it waits for throws WorkflowCancelled(reason), now and from here on. Twice, or when ready(): nothing happens.
  void cancel(std::string reason = {}) {
    if (branch_) branch_->cancel(std::move(reason));
  }
  // For the engine. Throws std::logic_error when there is none.
  [[nodiscard]] const std::shared_ptr<detail::Branch<T>>& branch() const {
    if (!branch_) throw std::logic_error("romancy::Future: nothing was started, or it was moved away");
    return branch_;
  }

 private:
  std::shared_ptr<detail::Branch<T>> branch_;
};

namespace detail {

// What co_await sees of a Future: copied into the frame before it is used, so it may register itself only after that.
template <class T>
class AwaitingFuture final : private Group {
 public:
  explicit AwaitingFuture(const Future<T>& future) : branch_(future.branch()) {}
  AwaitingFuture(const AwaitingFuture& other) : branch_(other.branch_) {}
  AwaitingFuture& operator=(const AwaitingFuture&) = delete;
  ~AwaitingFuture() { branch_->leave(this); }

  [[nodiscard]] bool await_ready() const noexcept { return branch_->done(); }
  void await_suspend(std::coroutine_handle<> waiting) {
    branch_->group(this);
    waiting_ = waiting;
    scope_ = branch_->host().driver().scope();
  }
  T await_resume() { return branch_->take(); }

 private:
  void ended(BranchBase&) noexcept override { branch_->host().driver().post(waiting_, scope_); }
  std::shared_ptr<Branch<T>> branch_;
  std::coroutine_handle<> waiting_;
  Scope* scope_ = nullptr;
};

template <class T>
AwaitingFuture<T> awaiting_future(const Future<T>& future) {
  return AwaitingFuture<T>(future);
}

}  // namespace detail
}  // namespace romancy
