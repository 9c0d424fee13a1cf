// activity: the work with effects. Ordinary blocking C++ on a thread of the worker's pool; exceptions mean failure.
// Two other kinds: transaction.hpp (takes effect exactly once, in the database) and async.hpp (waits without a thread).
//
//   const auto charge = romancy::activity("charge",
//       [](romancy::Attempt& at, Order o) { return bank().charge(o.card, o.cents, at.key()); },
//       {.retry = {.attempts = 5}});
//
// The function is `Out f(Attempt&, In)` or `Out f(Attempt&)`; Out may be void; In and Out convert to and from JSON.
//
// Promise: an attempt is made at least once, and its result is recorded exactly once. When the process dies in an
// attempt, the attempt is made again, with the same key(): give the key to whatever has the effect, so that it happens
// once. Attempts run on several threads at once; what they share is theirs to lock.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <romancy/detail/signature.hpp>
#include <romancy/error.hpp>
#include <romancy/json.hpp>
#include <romancy/retry.hpp>

namespace romancy {

namespace detail {

// What the attempts of a queued activity leave for each other. Called on the attempt's thread.
class TaskDetails {
 public:
  virtual ~TaskDetails() = default;
  virtual void keep(std::string json) = 0;
  [[nodiscard]] virtual const std::optional<std::string>& former() const = 0;
};

}  // namespace detail

// One try of one activity call.
class Attempt {
 public:
  Attempt(std::string instance_id, int number, std::string key, std::stop_token stop, detail::TaskDetails* details = nullptr)
      : instance_id_(std::move(instance_id)), key_(std::move(key)), stop_(std::move(stop)), details_(details), number_(number) {}
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  [[nodiscard]] int number() const noexcept { return number_; }                        // 1, 2, 3 ..
  // The idempotency key of this call: the same for all its attempts, different for every other call of any instance.
  [[nodiscard]] const std::string& key() const noexcept { return key_; }
  [[nodiscard]] const std::string& instance_id() const noexcept { return instance_id_; }
  // Asked to stop: the instance was cancelled, its lease is lost, or the worker's time to drain is nearly over. Long activities look at it now and then and
  // throw; one that does not simply finishes, and its result counts.
  [[nodiscard]] const std::stop_token& stop_token() const noexcept { return stop_; }
  [[nodiscard]] bool stop_requested() const noexcept { return stop_.stop_requested(); }

  // Of a queued activity: how far it has come, for whoever makes the next attempt and for people (activity_tasks). Does not
  // wait: what is told while the last one is under way is sent after it, the latest alone; an attempt that ends has sent it.
  // Throws BadData, and std::logic_error when the activity is not queued.
  template <class T>
  void heartbeat(const T& details) {
    task("heartbeat").keep(detail::to_text(details, "heartbeat"));
  }
  // What an attempt before this one told last; none: nothing. Throws BadData, and std::logic_error as heartbeat().
  template <class T>
  [[nodiscard]] std::optional<T> details() const {
    const auto& json = task("details").former();
    return json ? std::optional<T>(detail::from_text<T>(*json, "details")) : std::nullopt;
  }

 private:
  [[nodiscard]] detail::TaskDetails& task(const char* what) const {
    if (details_ == nullptr) throw std::logic_error(std::string(what) + ": this activity is not queued");
    return *details_;
  }

  std::string instance_id_, key_;
  std::stop_token stop_;
  detail::TaskDetails* details_;
  int number_;
};

struct ActivityOptions {
  RetryPolicy retry{};
  // Of one attempt, from its beginning; 0: none. When it is over the attempt is asked to stop and has failed, for the
  // workflow at once, with the type "AttemptTimedOut"; the policy decides about another. A function that does not
  // return keeps its thread (resumer/activity_pool.hpp says how many may), and what it returns later is dropped: the
  // next attempt may run beside it.
  std::chrono::milliseconds timeout{0};
  // Not empty: a queued activity, see QueuedActivity.
  std::string queue{};
  // Of a queued one: whoever carries it out and is not heard of for so long has lost it. A worker of ours sends heartbeats
  // by itself while the function runs.
  std::chrono::milliseconds heartbeat_timeout{60'000};
};

// What came of one attempt, for the engine.
struct AttemptResult {
  bool ok = false;
  std::string data{};  // ok: the result as JSON text ("null" for void)
  std::string error_type{}, error_message{};
  bool terminal = false;   // no other attempt can help
  bool retryable = false;  // another may help, whatever the policy says of this type
};

namespace detail {

enum class ActivityKind { blocking, transactional, asynchronous, elsewhere };

class ActivityDefinition {
 public:
  ActivityDefinition(std::string name, ActivityKind kind, ActivityOptions options)
      : name_(std::move(name)), options_(std::move(options)), kind_(kind) {}
  virtual ~ActivityDefinition() = default;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const ActivityOptions& options() const { return options_; }
  [[nodiscard]] ActivityKind kind() const { return kind_; }

 private:
  std::string name_;
  ActivityOptions options_;
  ActivityKind kind_;
};

class BlockingDefinition : public ActivityDefinition {
 public:
  BlockingDefinition(std::string name, ActivityOptions options)
      : ActivityDefinition(std::move(name), ActivityKind::blocking, std::move(options)) {}
  // Throws what the user's function throws.
  virtual std::string call(Attempt& attempt, const std::string& input) const = 0;
};

// What came of an attempt, from the exception being handled; call it in a catch block.
AttemptResult failed_attempt() noexcept;

// Empty, or which option is wrong and what it may be: "timeout: -1 ms is not in ..".
std::string options_problem(const ActivityOptions& options);

// The function of an activity, f(First&) or f(First&, In), once wrong_activity() has found nothing.
template <class F>
struct ActivityCall {
  using Call = Signature<F>;
  using Given = typename InputOf<typename Call::Params>::Type;
  using In = std::remove_cvref_t<Given>;
  using Result = typename Call::Result;
};

// ResultOf<R>: kIs, whether R is what this kind of activity returns, and Type, what is recorded of it.
template <class F, class First, template <class> class ResultOf, bool kCoroutine>
constexpr Wrong wrong_activity() {
  using Call = Signature<F>;
  if constexpr (!Call::kKnown) {
    return Wrong::unknown;
  } else {
    using Params = typename Call::Params;
    using Given = typename InputOf<Params>::Type;
    using In = std::remove_cvref_t<Given>;
    using Result = ResultOf<typename Call::Result>;
    if constexpr (!std::is_same_v<typename FirstOf<Params>::Type, First&> || std::tuple_size_v<Params> > 2) {
      return Wrong::parameters;
    } else if constexpr (Call::kMutable) {
      return Wrong::is_mutable;
    } else if constexpr (kCoroutine ? std::is_reference_v<Given>
                                    : std::is_lvalue_reference_v<Given> && !std::is_const_v<std::remove_reference_t<Given>>) {
      return Wrong::reference;
    } else if constexpr (!Result::kIs) {
      return Wrong::result;
    } else if constexpr (!std::is_void_v<In> && !(FromJson<In> && ToJson<In>)) {
      return Wrong::input;
    } else if constexpr (!std::is_void_v<typename Result::Type> &&
                         !(FromJson<typename Result::Type> && ToJson<typename Result::Type>)) {
      return Wrong::output;
    } else {
      return Wrong::nothing;
    }
  }
}

template <Wrong wrong>
constexpr void explain_activity() {
  static_assert(wrong != Wrong::unknown,
                "romancy: an activity is a function or a lambda with plain parameter types (no auto)");
  static_assert(wrong != Wrong::is_mutable, "romancy: an activity's lambda must not be mutable: several attempts run at once");
  static_assert(wrong != Wrong::parameters,
                "romancy: an activity is called as f(romancy::Attempt&) or f(romancy::Attempt&, Input); "
                "a transactional one with romancy::Transaction&, an asynchronous one with romancy::AsyncAttempt&");
  static_assert(wrong != Wrong::reference,
                "romancy: an activity takes its input by value or by const reference; an asynchronous one by value");
  static_assert(wrong != Wrong::result, "romancy: an asynchronous activity returns romancy::Async<T>");
  static_assert(wrong != Wrong::input,
                "romancy: an activity's input needs to_json and from_json; see NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE");
  static_assert(wrong != Wrong::output,
                "romancy: a result needs to_json and from_json; see NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE");
}

template <class R>
struct PlainResult {
  static constexpr bool kIs = true;
  using Type = std::remove_cvref_t<R>;
};

// Calls the function with the input, and gives the result as JSON text.
template <class In, class Out, class F, class First>
std::string call_with_text(const F& function, First& first, const std::string& input) {
  const auto result = [](auto&& call) -> std::string {
    if constexpr (std::is_void_v<Out>) {
      call();
      return "null";
    } else {
      return to_text(call(), "result");
    }
  };
  if constexpr (std::is_void_v<In>) {
    return result([&]() -> Out { return function(first); });
  } else {
    In value = from_text<In>(input, "input");
    return result([&]() -> Out { return function(first, std::move(value)); });
  }
}

}  // namespace detail

// An activity whose types are forgotten: what run_worker() takes. Cheap to copy; safe on any thread.
class ActivityRef {
 public:
  explicit ActivityRef(std::shared_ptr<const detail::ActivityDefinition> definition)
      : definition_(std::move(definition)) {}

  [[nodiscard]] const std::string& name() const noexcept { return definition_->name(); }
  [[nodiscard]] const ActivityOptions& options() const noexcept { return definition_->options(); }
  [[nodiscard]] const RetryPolicy& retry() const noexcept { return definition_->options().retry; }
  // For the engine.
  [[nodiscard]] const detail::ActivityDefinition& definition() const noexcept { return *definition_; }
  // For the engine: makes one attempt of a blocking activity on this thread. Never throws; what the function threw is
  // in the result.
  [[nodiscard]] AttemptResult run(Attempt& attempt, const std::string& input) const noexcept;

 private:
  std::shared_ptr<const detail::ActivityDefinition> definition_;
};

// The handle that workflows call: ctx.run(charge, order). In is void when the function takes no input.
template <class In, class Out>
class Activity : public ActivityRef {
 public:
  using ActivityRef::ActivityRef;
};

// A queued activity is a task in the database, until somebody has carried it out: a worker whose program registers an
// activity of that name and queue, or any program in any language by SQL alone (docs/sql-api.md). The workflow is out of
// memory meanwhile. It is called like every other activity, and the policy, time-outs included, is the caller's:
//
//   const auto resize = romancy::activity("resize", fn, {.queue = "gpu"});                       this program serves it
//   const romancy::QueuedActivity<Image, Image> resize("resize", {.queue = "gpu"});              another one does
//
// Promise: its result is recorded once. An attempt whose heartbeats stay away fails with the type HeartbeatTimedOut, and
// the next one is due at once; what a late one brings changes nothing. A workflow that is cancelled meanwhile: a task that
// nobody has is taken back at once; whoever has one is told at the next heartbeat, and how it ends is recorded before the
// workflow sees the cancellation, as with all activities.
template <class In, class Out>
class QueuedActivity : public Activity<In, Out> {
 public:
  QueuedActivity(std::string name, ActivityOptions options)
      : Activity<In, Out>(std::make_shared<const detail::ActivityDefinition>(
            std::move(name), detail::ActivityKind::elsewhere, std::move(options))) {}
};

namespace detail {

template <class F, class In, class Out>
class ActivityOf final : public BlockingDefinition {
 public:
  ActivityOf(std::string name, F function, ActivityOptions options)
      : BlockingDefinition(std::move(name), std::move(options)), function_(std::move(function)) {}

  std::string call(Attempt& attempt, const std::string& input) const override {
    return call_with_text<In, Out>(function_, attempt, input);
  }

 private:
  F function_;
};

}  // namespace detail

// `name` is what history and the database know: keep it when the function moves. Names and policies are checked by
// run_worker(), which refuses to start.
template <class F>
auto activity(std::string name, F function, ActivityOptions options = {}) {
  constexpr auto kWrong = detail::wrong_activity<F, Attempt, detail::PlainResult, false>();
  detail::explain_activity<kWrong>();
  if constexpr (kWrong == detail::Wrong::nothing) {
    using Call = detail::ActivityCall<F>;
    using In = typename Call::In;
    using Out = std::remove_cvref_t<typename Call::Result>;
    return Activity<In, Out>(std::make_shared<const detail::ActivityOf<F, In, Out>>(std::move(name), std::move(function),
                                                                                   std::move(options)));
  } else {
    return Activity<Json, Json>(nullptr);  // never made: only that whoever names it is not complained about, too
  }
}

}  // namespace romancy
