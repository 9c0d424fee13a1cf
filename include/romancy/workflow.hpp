// workflow: the code that is replayed. A coroutine that asks for everything that is not pure: through Context.
//
//   const auto order = romancy::workflow("order",
//       [](romancy::Context& ctx, Order o) -> romancy::Task<Receipt> { ... });
//
// The function is `Task<Out> f(Context&, In)` or `Task<Out> f(Context&)`, In by value; both convert to and from JSON.
//
// It may run many times: after a crash, on another host, or when it left memory, it is run from the top and given what
// history recorded. So it must do the same when told the same: no clock, no random numbers, no I/O, no threads, no
// global variables that change; use ctx.now(), ctx.random(), and activities. A run that does something else than
// history says is stopped and parked with both sides named; nothing is written, and it goes on once the code is right
// again.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <romancy/context.hpp>
#include <romancy/detail/signature.hpp>
#include <romancy/json.hpp>
#include <romancy/task.hpp>

namespace romancy {

struct WorkflowOptions {
  std::string queue = "default";  // start_workflow(queue => ..) chooses among the programs that serve the name
  // Of one generation, from its start. When it is over the workflow is cancelled (see WorkflowCancelled), and ends as
  // failed with the type WorkflowTimedOut. 0: none. 1 ms .. 1000 years.
  std::chrono::milliseconds timeout{0};
  // Rows of history of one generation. A workflow that comes to it is cancelled, and ends as failed with the type
  // HistoryTooLong; beyond twice as many every call and every co_await throws std::length_error. It protects the database from a loop without end: a
  // workflow that shall loop for ever recurs. 100 .. 10,000,000.
  std::int64_t max_history = 50'000;
};

namespace detail {

class WorkflowDefinition {
 public:
  WorkflowDefinition(std::string name, WorkflowOptions options)
      : name_(std::move(name)), options_(std::move(options)) {}
  virtual ~WorkflowDefinition() = default;
  // JSON text in, JSON text out. Must outlive the task: a lambda's captures live in the definition.
  virtual Task<std::string> start(Context& ctx, std::string input) const = 0;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const WorkflowOptions& options() const { return options_; }

 private:
  std::string name_;
  WorkflowOptions options_;
};

}  // namespace detail

// A workflow whose types are forgotten: what run_worker() takes. Cheap to copy.
class WorkflowRef {
 public:
  explicit WorkflowRef(std::shared_ptr<const detail::WorkflowDefinition> definition)
      : definition_(std::move(definition)) {}

  [[nodiscard]] const std::string& name() const noexcept { return definition_->name(); }
  [[nodiscard]] const std::string& queue() const noexcept { return definition_->options().queue; }
  [[nodiscard]] const WorkflowOptions& options() const noexcept { return definition_->options(); }
  // For the engine. The reference must outlive the task.
  [[nodiscard]] Task<std::string> start(Context& ctx, std::string input) const {
    return definition_->start(ctx, std::move(input));
  }

 private:
  std::shared_ptr<const detail::WorkflowDefinition> definition_;
};

template <class In, class Out>
class Workflow : public WorkflowRef {
 public:
  using Input = In;
  using Output = Out;
  using WorkflowRef::WorkflowRef;
};

namespace detail {

template <class T>
struct TaskResult {
  static constexpr bool kIs = false;
  using Type = void;
};
template <class T>
struct TaskResult<Task<T>> {
  static constexpr bool kIs = true;
  using Type = T;
};

template <class F, class In, class Out>
class WorkflowOf final : public WorkflowDefinition {
 public:
  WorkflowOf(std::string name, WorkflowOptions options, F function)
      : WorkflowDefinition(std::move(name), std::move(options)), function_(std::move(function)) {}

  // The body's task is a named variable: g++ 12 gets temporaries with destructors in a co_await expression wrong.
  Task<std::string> start(Context& ctx, std::string input) const override {
    Task<Out> body = begin(ctx, input);
    if constexpr (std::is_void_v<Out>) {
      co_await std::move(body);
      co_return std::string("null");
    } else {
      const Out out = co_await std::move(body);
      co_return to_text(out, "output");
    }
  }

 private:
  Task<Out> begin(Context& ctx, const std::string& input) const {
    if constexpr (std::is_void_v<In>) {
      return function_(ctx);
    } else {
      return function_(ctx, from_text<In>(input, "input"));
    }
  }
  F function_;
};

template <class F>
constexpr Wrong wrong_workflow() {
  using Call = Signature<F>;
  if constexpr (!Call::kKnown) {
    return Wrong::unknown;
  } else {
    using Params = typename Call::Params;
    using Given = typename InputOf<Params>::Type;
    using In = std::remove_cv_t<Given>;
    using Result = TaskResult<typename Call::Result>;
    if constexpr (Call::kMutable) {
      return Wrong::is_mutable;
    } else if constexpr (!Result::kIs) {
      return Wrong::result;
    } else if constexpr (!std::is_same_v<typename FirstOf<Params>::Type, Context&> || std::tuple_size_v<Params> > 2) {
      return Wrong::parameters;
    } else if constexpr (std::is_reference_v<Given>) {
      return Wrong::reference;
    } else if constexpr (!std::is_void_v<In> && !FromJson<In>) {
      return Wrong::input;
    } else if constexpr (!std::is_void_v<typename Result::Type> && !ToJson<typename Result::Type>) {
      return Wrong::output;
    } else {
      return Wrong::nothing;
    }
  }
}

template <Wrong wrong>
constexpr void explain_workflow() {
  static_assert(wrong != Wrong::unknown, "romancy: a workflow is a function or a lambda with plain parameter types (no auto)");
  static_assert(wrong != Wrong::is_mutable, "romancy: a workflow's lambda must not be mutable: every instance shares it");
  static_assert(wrong != Wrong::result,
                "romancy: a workflow returns romancy::Task<Output>; write `-> romancy::Task<Output>` after the "
                "lambda's parameters");
  static_assert(wrong != Wrong::parameters,
                "romancy: a workflow is called as f(romancy::Context&) or f(romancy::Context&, Input)");
  static_assert(wrong != Wrong::reference,
                "romancy: a workflow takes its input by value: a reference would dangle once it waits");
  static_assert(wrong != Wrong::input,
                "romancy: a workflow's input needs from_json; see NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE");
  static_assert(wrong != Wrong::output,
                "romancy: a workflow's output needs to_json; see NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE");
}

}  // namespace detail

template <class F>
auto workflow(std::string name, F function, WorkflowOptions options = {}) {
  constexpr auto kWrong = detail::wrong_workflow<F>();
  detail::explain_workflow<kWrong>();
  if constexpr (kWrong == detail::Wrong::nothing) {
    using Call = detail::Signature<F>;
    using In = std::remove_cv_t<typename detail::InputOf<typename Call::Params>::Type>;
    using Out = typename detail::TaskResult<typename Call::Result>::Type;
    return Workflow<In, Out>(std::make_shared<const detail::WorkflowOf<F, In, Out>>(
        std::move(name), std::move(options), std::move(function)));
  } else {
    return Workflow<Json, Json>(nullptr);  // never made: only that whoever names it is not complained about, too
  }
}

}  // namespace romancy
