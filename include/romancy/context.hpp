// Context: everything a workflow may ask for. One object an instance, given to the workflow's coroutine by reference.
//
//   co_await ctx.run(charge, order)                     the activity's result, or throws ActivityError
//   co_await ctx.attempt(charge, order)                 an Outcome: for code that goes on after a failure
//   co_await ctx.sleep(1h), ctx.sleep_until(moment)     by the database's clock; survives any restart
//   co_await ctx.receive<T>("channel", {.within = 24h}) the oldest unread message, or throws TimedOut
//   ctx.publish / send_event / subscribe                leave with the run's next commit, once, in spite of replays
//   ctx.compensate_with(refund, receipt)                runs, newest first, if what follows fails or is cancelled
//   ctx.now(), ctx.random(), ctx.uuid(), side_effect()  the same in every replay
//   ctx.when_all, when_any, start; romancy::Scope       several things at once (concurrent.hpp)
//   ctx.child, start_child, start_workflow              other workflows (children.hpp)
//   ctx.set_status(value)                               for others to read while it runs
//   ctx.patched("id")                                   may this run go the way of the new code?
//   ctx.recur(next_input)                               a new beginning with an empty history
//
// Every one of them is safe in replay. Each but set_status() takes an operation number when it is awaited (or called,
// where there is nothing to await), so the calls, their kinds and their order must follow from the input and from what was told;
// history is checked against them.
//
// Failure: values that do not convert throw BadData, naming the field. Any co_await throws WorkflowCancelled once the
// instance was cancelled (not inside ctx.shield()); an activity that is under way is finished first, and the workflow
// is given its result. The same when the workflow's own time is over or its history is full (WorkflowOptions). After a
// replay mismatch the code is not run any further. Calls from destructors while a suspended workflow leaves memory are
// refused and logged.
//
// g++ 12 miscompiles or rejects temporaries of a co_await expression that are structs, containers or JSON: it frees the
// members of a struct twice. So there, and only there, such an input of an activity must be a named variable; anything
// else does not compile. Numbers and strings may be temporaries.
//   Order o{"o-1", 950};  co_await ctx.run(charge, o);        not: co_await ctx.run(charge, Order{"o-1", 950});
// The same compiler breaks `flag ? co_await a : co_await b` even with strings: write an if.
#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <romancy/activity.hpp>
#include <romancy/channel.hpp>
#include <romancy/children.hpp>
#include <romancy/concurrent.hpp>
#include <romancy/detail/coroutine.hpp>
#include <romancy/detail/host.hpp>
#include <romancy/error.hpp>
#include <romancy/json.hpp>
#include <romancy/task.hpp>

namespace romancy {

// What came of an activity: a value or an error.
template <class T>
class Outcome {
 public:
  explicit Outcome(T value) : value_(std::move(value)) {}
  explicit Outcome(ActivityError error) : error_(std::move(error)) {}
  [[nodiscard]] bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  // Throws the error when there is no value.
  [[nodiscard]] const T& value() const& {
    if (!value_) throw ActivityError(*error_);
    return *value_;
  }
  [[nodiscard]] T value() && {
    if (!value_) throw ActivityError(*error_);
    return std::move(*value_);
  }
  // Only when not ok().
  [[nodiscard]] const ActivityError& error() const { return error_.value(); }

 private:
  std::optional<T> value_;
  std::optional<ActivityError> error_;
};

template <>
class Outcome<void> {
 public:
  Outcome() = default;
  explicit Outcome(ActivityError error) : error_(std::move(error)) {}
  [[nodiscard]] bool ok() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return ok(); }
  void value() const {
    if (error_) throw ActivityError(*error_);
  }
  [[nodiscard]] const ActivityError& error() const { return error_.value(); }

 private:
  std::optional<ActivityError> error_;
};

template <class T>
struct Message {
  T data;
  Json metadata;        // what the publisher gave, else an empty object
  std::int64_t id = 0;  // one number for all copies of a broadcast
};

struct ReceiveOptions {
  std::optional<std::chrono::milliseconds> within{};  // none: wait for ever
};

struct PublishOptions {
  std::optional<std::string> to{};  // an instance id: only that one gets it. None: every subscriber of the channel
  Json metadata = Json::object();
  std::optional<std::string> to_group{};  // instead of `to`: every member of this group
};

enum class LogLevel : std::uint8_t { debug, info, warn, error };

struct SendEventOptions {
  std::string content_type = "application/json";
};

namespace detail {

// One that the engine itself registers.
inline ActivityRef builtin(std::string name) {
  return ActivityRef(std::make_shared<const ActivityDefinition>(std::move(name), ActivityKind::blocking, ActivityOptions{}));
}

template <class Out>
class RunActivity : public Ask {
 public:
  RunActivity(Host& host, ActivityRef activity, std::string input)
      : Ask(host), activity_(std::move(activity)), input_(std::move(input)) {}

  bool await_ready() {
    if (opening()) host_->open_activity(*this, activity_, std::move(input_));
    return answered();
  }
  Out await_resume() {
    if (answer_.kind == Answer::Kind::cancelled) throw WorkflowCancelled(answer_.data);
    if (answer_.kind == Answer::Kind::failed) {
      throw ActivityError(activity_.name(), answer_.error_type, answer_.error_message, answer_.attempt);
    }
    if constexpr (!std::is_void_v<Out>) {
      try {
        return from_text<Out>(answer_.data, "result");
      } catch (const BadData& e) {
        throw ActivityError(activity_.name(), "BadData", e.what(), answer_.attempt);
      }
    }
  }

 private:
  ActivityRef activity_;
  std::string input_;
};

template <class Out>
class AttemptActivity : public RunActivity<Out> {
 public:
  using RunActivity<Out>::RunActivity;
  Outcome<Out> await_resume() {
    try {
      if constexpr (std::is_void_v<Out>) {
        RunActivity<Out>::await_resume();
        return Outcome<void>();
      } else {
        return Outcome<Out>(RunActivity<Out>::await_resume());
      }
    } catch (ActivityError& e) {
      return Outcome<Out>(std::move(e));
    }
  }
};

class Sleep : public Ask {
 public:
  Sleep(Host& host, std::optional<std::chrono::microseconds> after, std::optional<std::int64_t> at_micros)
      : Ask(host), after_(after), at_micros_(at_micros) {}
  bool await_ready() {
    if (opening()) host_->open_sleep(*this, after_, at_micros_);
    return answered();
  }
  void await_resume() const {
    if (answer_.kind == Answer::Kind::cancelled) throw WorkflowCancelled(answer_.data);
  }

 private:
  std::optional<std::chrono::microseconds> after_;
  std::optional<std::int64_t> at_micros_;
};

template <class T>
class ReceiveBase : public Ask {
 public:
  ReceiveBase(Host& host, std::string_view channel, std::optional<std::chrono::microseconds> within,
              bool subscribe = false)
      : Ask(host), channel_(channel), within_(within), subscribe_(subscribe) {}
  bool await_ready() {
    if (opening()) host_->open_receive(*this, channel_, within_, subscribe_);
    return answered();
  }

 protected:
  // Nothing: the time was over.
  std::optional<Message<T>> message() const {
    if (answer_.kind == Answer::Kind::cancelled) throw WorkflowCancelled(answer_.data);
    if (answer_.kind == Answer::Kind::timed_out) return std::nullopt;
    if (answer_.kind == Answer::Kind::failed) throw ChannelModeConflict(channel_, answer_.error_message);
    const std::string what = "message on channel " + channel_;
    Json row = parse_text(answer_.data, what);
    const Json data = std::move(row["data"]);  // a root of its own, so that errors name the path from here
    Message<T> read{from_json_value<T>(data, what), std::move(row["metadata"]), 0};
    const auto id = row.find("message_id");
    if (id != row.end() && id->is_number_integer()) read.id = id->template get<std::int64_t>();
    return read;
  }
  std::string channel_;

 private:
  std::optional<std::chrono::microseconds> within_;
  bool subscribe_;
};

template <class T>
class ReceiveMessage : public ReceiveBase<T> {
 public:
  using ReceiveBase<T>::ReceiveBase;
  Message<T> await_resume() const {
    auto read = this->message();
    if (!read) throw TimedOut(this->channel_);
    return std::move(*read);
  }
};

template <class T>
class Receive : public ReceiveBase<T> {
 public:
  using ReceiveBase<T>::ReceiveBase;
  T await_resume() const {
    auto read = this->message();
    if (!read) throw TimedOut(this->channel_);
    return std::move(read->data);
  }
};

template <class T>
class ReceiveFor : public ReceiveBase<T> {
 public:
  using ReceiveBase<T>::ReceiveBase;
  std::optional<T> await_resume() const {
    auto read = this->message();
    if (!read) return std::nullopt;
    return std::move(read->data);
  }
};

template <class Rep, class Period>
std::chrono::microseconds micros(std::chrono::duration<Rep, Period> length, const char* what) {
  const double seconds = std::chrono::duration<double>(length).count();
  if (!(std::abs(seconds) < 3.2e10)) throw std::invalid_argument(std::string(what) + ": longer than a thousand years");
  if (seconds <= 0) return std::chrono::microseconds(0);
  return std::chrono::ceil<std::chrono::microseconds>(length);  // never shorter than asked
}

inline std::optional<std::chrono::microseconds> micros(const ReceiveOptions& options) {
  if (!options.within) return std::nullopt;
  return micros(*options.within, "within");
}

}  // namespace detail

class Context {
 public:
  explicit Context(detail::Host& host) : host_(host) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // ---- activities ----
  // co_await gives the activity's result, durable before anything after it starts. Throws ActivityError when its
  // attempts are used up (see RetryPolicy).
  template <class In, class Out>
    requires(!std::is_void_v<In>)
  [[nodiscard]] detail::RunActivity<Out> run(const Activity<In, Out>& activity, const std::type_identity_t<In>& input) {
    return {host_, activity, text(activity, input)};
  }
  template <class Out>
  [[nodiscard]] detail::RunActivity<Out> run(const Activity<void, Out>& activity) {
    return {host_, activity, "null"};
  }
  // As run(), but co_await gives an Outcome instead of throwing ActivityError.
  template <class In, class Out>
    requires(!std::is_void_v<In>)
  [[nodiscard]] detail::AttemptActivity<Out> attempt(const Activity<In, Out>& activity,
                                                     const std::type_identity_t<In>& input) {
    return {host_, activity, text(activity, input)};
  }
  template <class Out>
  [[nodiscard]] detail::AttemptActivity<Out> attempt(const Activity<void, Out>& activity) {
    return {host_, activity, "null"};
  }
  template <class In, class Out>
    requires detail::kMustBeNamed<In>
  void run(const Activity<In, Out>&, std::type_identity_t<In>&&) = delete;  // g++ 12: name the input (see top)
  template <class In, class Out>
    requires detail::kMustBeNamed<In>
  void attempt(const Activity<In, Out>&, std::type_identity_t<In>&&) = delete;  // g++ 12: name the input (see top)

  // If what follows fails or is cancelled, the activity runs with this input; the last one registered runs first, each
  // by its own retry policy. One that fails for good is recorded, and the others still run. Call it after (or before)
  // the step it undoes; it need not be awaited.
  template <class In, class Out>
    requires(!std::is_void_v<In>)
  void compensate_with(const Activity<In, Out>& activity, const std::type_identity_t<In>& input) {
    host_.compensate_with(activity, text(activity, input));
  }
  template <class Out>
  void compensate_with(const Activity<void, Out>& activity) {
    host_.compensate_with(activity, "null");
  }
  // What was done until here stands, whatever comes: none of the registered compensations will run.
  void forget_compensations() { host_.forget_compensations(); }

  // ---- time ----
  // Wakes when the database's clock says so, never earlier. Negative: now. Throws std::invalid_argument beyond 1000
  // years.
  template <class Rep, class Period>
  [[nodiscard]] detail::Sleep sleep(std::chrono::duration<Rep, Period> length) {
    return {host_, detail::micros(length, "sleep"), std::nullopt};
  }
  [[nodiscard]] detail::Sleep sleep_until(std::chrono::system_clock::time_point moment) {
    const auto since = std::chrono::ceil<std::chrono::microseconds>(moment.time_since_epoch());
    return {host_, std::nullopt, since.count()};
  }
  // The database's clock, recorded: every replay gets the same.
  [[nodiscard]] std::chrono::system_clock::time_point now() {
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::microseconds(host_.now_micros())));
  }

  // ---- messages ----
  // The oldest message of the channel this instance has not received yet. Messages sent to this instance need no
  // subscription and wait for their reader; broadcasts arrive from subscribe() on. A message that does not convert to T
  // is consumed, and throws BadData.
  template <class T = Json>
  [[nodiscard]] detail::Receive<T> receive(std::string_view channel, ReceiveOptions options = {}) {
    return {host_, channel, detail::micros(options)};
  }
  // The same with metadata and id.
  template <class T = Json>
  [[nodiscard]] detail::ReceiveMessage<T> receive_message(std::string_view channel, ReceiveOptions options = {}) {
    return {host_, channel, detail::micros(options)};
  }
  // The same, but no message within the time is an empty optional instead of TimedOut.
  template <class T = Json>
  [[nodiscard]] detail::ReceiveFor<T> receive_for(std::string_view channel, std::chrono::milliseconds within) {
    return {host_, channel, detail::micros(within, "within")};
  }
  // subscribe(type), unless that was done before, and receive_message(type): an event that was published under its type.
  template <class T = Json>
  [[nodiscard]] detail::ReceiveMessage<T> wait_event(std::string_view type, ReceiveOptions options = {}) {
    return {host_, type, detail::micros(options), true};
  }
  // From the next commit on (so before the next activity starts) until unsubscribe() or the end. A channel has one mode
  // at a time. One that is used in the other mode is not subscribed to, and receive() on it throws ChannelModeConflict.
  void subscribe(std::string_view channel, ChannelMode mode = ChannelMode::broadcast) {
    host_.subscribe(channel, true, mode == ChannelMode::competing);
  }
  void unsubscribe(std::string_view channel) { host_.subscribe(channel, false, false); }
  // To all subscribers of the channel, or to one instance. An unknown or finished instance: dropped silently.
  template <class T>
  void publish(std::string_view channel, const T& data, PublishOptions options = {}) {
    const std::string what = "publish on channel " + std::string(channel);
    if (!options.metadata.is_object()) throw BadData(what + ": metadata: not an object");
    if (options.to && options.to_group) throw std::invalid_argument(what + ": to an instance or to a group, not both");
    host_.publish({channel, detail::to_text(data, what), detail::to_text(options.metadata, what + ": metadata"),
                   std::move(options.to), std::move(options.to_group)});
  }
  // ---- groups: what is published to a group reaches each member, without a subscription ----
  // From the next commit on, until leave() or the end.
  void join(std::string_view group) { host_.join(group, true); }
  void leave(std::string_view group) { host_.join(group, false); }
  // co_await gives the ids of its members, in order, as of now; recorded.
  [[nodiscard]] detail::RunActivity<std::vector<std::string>> members(const std::string& group) {
    return {host_, detail::builtin("romancy.group_members"), detail::to_text(group, "members: group")};
  }

  // ---- outbox ----
  // A row of the outbox: the relay delivers it as a CloudEvent, at least once, with an id that stays the same.
  template <class T>
  void send_event(std::string_view type, std::string_view source, const T& data, const SendEventOptions& options = {}) {
    host_.send_event(type, source, detail::to_text(data, "event " + std::string(type)), options.content_type);
  }

  // ---- other workflows: see children.hpp ----
  // co_await starts it and gives its output, or throws ChildError.
  template <detail::Startable W>
    requires(!std::is_void_v<typename W::Input>)
  [[nodiscard]] detail::RunChild<typename W::Output> child(const W& workflow, const typename W::Input& input,
                                                           ChildOptions options = {}) {
    return {host_, detail::new_instance(workflow, input_of(workflow, input), options)};
  }
  template <detail::Startable W>
    requires(std::is_void_v<typename W::Input>)
  [[nodiscard]] detail::RunChild<typename W::Output> child(const W& workflow, ChildOptions options = {}) {
    return {host_, detail::new_instance(workflow, "null", options)};
  }
  template <detail::Startable W>
    requires detail::kMustBeNamed<typename W::Input>
  void child(const W&, typename W::Input&&, ChildOptions = {}) = delete;  // g++ 12: name the input (see top)
  // Starts it with the next commit, whether anybody waits for its result() or not.
  template <detail::Startable W>
    requires(!std::is_void_v<typename W::Input>)
  Child<typename W::Output> start_child(const W& workflow, const typename W::Input& input, ChildOptions options = {}) {
    return {host_, workflow.name(),
            host_.start_child(detail::new_instance(workflow, input_of(workflow, input), options))};
  }
  template <detail::Startable W>
    requires(std::is_void_v<typename W::Input>)
  Child<typename W::Output> start_child(const W& workflow, ChildOptions options = {}) {
    return {host_, workflow.name(), host_.start_child(detail::new_instance(workflow, "null", options))};
  }
  // An instance that is no child, with the next commit; its id. As start_workflow() in SQL: an id that exists already
  // means that instance.
  template <detail::Startable W>
    requires(!std::is_void_v<typename W::Input>)
  std::string start_workflow(const W& workflow, const typename W::Input& input, ChildOptions options = {}) {
    return host_.start_workflow(detail::new_instance(workflow, input_of(workflow, input), options));
  }
  template <detail::Startable W>
    requires(std::is_void_v<typename W::Input>)
  std::string start_workflow(const W& workflow, ChildOptions options = {}) {
    return host_.start_workflow(detail::new_instance(workflow, "null", options));
  }
  // Asks another instance to stop and compensate. An unknown or finished one: nothing happens. Reason: up to 4096 bytes.
  void cancel_workflow(std::string_view instance_id, std::string_view reason = {}) {
    host_.cancel_workflow(instance_id, reason);
  }

  // ---- what others may read while it runs ----
  // Replaces the status value of the instance, with the next commit: `progress` of workflow_instances in SQL, and in
  // `romancy show`. Any JSON value of up to 16 KiB. It stays until it is set again, over recur() and after the end. Not
  // recorded: a call that is added, moved or taken out is no difference to history.
  template <class T>
  void set_status(const T& value) {
    host_.set_status(detail::to_text(value, "set_status"));
  }

  // ---- changing code while instances run ----
  // True: go the new way. False: this run came past here before the code asked, by the old way, and must go it again. A
  // run that comes here for the first time gets true, and a row of history says so (`patched`); the first answer of a run
  // counts for all calls with this id. recur() begins a new run. An id names one change of one workflow, for ever.
  [[nodiscard]] bool patched(std::string_view id) { return host_.patched(id); }
  // In the place of the first patched(id), once no run that goes the old way is left and its code has gone: accepts the
  // row where there is one and writes none. May go itself when no run with such a row is left.
  void deprecate_patch(std::string_view id) { host_.deprecate_patch(id); }

  // ---- several things at once: see concurrent.hpp ----
  // co_await gives a std::tuple of their results (std::monostate for void), or throws what failed first; then, and when
  // this code is cancelled, the others are taken back.
  template <class... A>
    requires(sizeof...(A) > 0)
  [[nodiscard]] detail::WhenAll<std::remove_cvref_t<A>...> when_all(A&&... branches) {
    return {host_, detail::slot_of(host_, std::forward<A>(branches))...};
  }
  // co_await gives an AnyOf: which was first, and its value; or throws what it threw. The others are taken back.
  template <class... A>
    requires(sizeof...(A) > 0)
  [[nodiscard]] detail::WhenAny<std::remove_cvref_t<A>...> when_any(A&&... branches) {
    return {host_, detail::slot_of(host_, std::forward<A>(branches))...};
  }
  // Begins it now, beside this code. ctx.start(ctx.sleep(1h)) is a timer that can be cancelled.
  template <class A>
  [[nodiscard]] Future<detail::Result<A>> start(A&& branch) {
    auto begun = detail::make_branch(host_, *host_.driver().scope(), std::forward<A>(branch));
    begun->begin();
    return Future<detail::Result<A>>(std::move(begun));
  }
  // co_await gives the index of one that is ready (the first to be). It is for the caller to await that one and to take
  // it out of the list. None: std::invalid_argument.
  template <class T>
  [[nodiscard]] detail::WaitAny<T> wait_any(const std::vector<Future<T>>& futures) {
    return {host_, branches_of(futures)};
  }
  // co_await gives a std::vector of their results (nothing for void), or throws what failed first; the others go on.
  template <class T>
  [[nodiscard]] detail::WaitAll<T> wait_all(const std::vector<Future<T>>& futures) {
    return {host_, branches_of(futures)};
  }

  // ---- a new beginning ----
  // Ends this generation of the instance: its history goes to the archive, and the workflow begins again with this
  // input. One transaction. Unread messages, subscriptions and groups stay; timers and what is under way go. Does not
  // return: what it throws is no std::exception, and a catch (...) must let it pass. std::logic_error while
  // compensations are registered: forget them first, or let them run.
  template <class In>
  [[noreturn]] void recur(const In& next_input) {
    host_.recur(detail::to_text(next_input, "recur: input"));
    std::terminate();  // it threw; g++ 12 wants to see that this does not return
  }
  [[noreturn]] void recur() {  // of a workflow that takes no input
    host_.recur("null");
    std::terminate();
  }
  [[nodiscard]] int generation() const noexcept { return host_.generation(); }  // 0, 1, 2 ..
  // Rows of history until now: a workflow that loops recurs when it has many.
  [[nodiscard]] std::int64_t history_length() const noexcept { return host_.history_length(); }

  // ---- the rest ----
  // What `make` returns, recorded once: every replay is given the same. When it throws, that is recorded too, as
  // {"$error": {"type", "message"}}, and thrown as SideEffectError. It must not take long: it runs on the worker's loop,
  // perhaps again when the process dies before the next commit; and it must not use the context.
  template <class F>
  auto side_effect(std::string_view name, F make) -> std::invoke_result_t<F&> {
    using Value = std::invoke_result_t<F&>;
    const std::string what = "side effect " + std::string(name);
    return detail::from_text<Value>(
        host_.side_effect(name, [&] { return detail::to_text<Value>(make(), what); }), what);
  }
  // A line of the worker's log with this instance's id; silent while history is told again. fields: a JSON object.
  void log(LogLevel level, std::string_view text, const Json& fields = Json::object()) {
    host_.log(static_cast<int>(level), text, detail::to_text(fields, "log: fields"));
  }
  // Derived from instance, operation and generation: the same in every replay, different everywhere else.
  [[nodiscard]] std::string uuid() { return host_.uuid(); }          // version 5
  [[nodiscard]] std::uint64_t random() { return host_.random(); }    // uniform over 64 bits; not for secrets
  // True while the code is being told what history recorded: to keep log lines from repeating, never to decide.
  [[nodiscard]] bool replaying() const noexcept { return host_.replaying(); }
  [[nodiscard]] bool cancelled() const noexcept { return host_.cancelled(); }
  [[nodiscard]] const std::string& instance_id() const noexcept { return host_.instance_id(); }
  [[nodiscard]] const std::string& workflow_name() const noexcept { return host_.workflow_name(); }

  // Runs `part`, a coroutine function, to its end even when the instance is cancelled (before or meanwhile); the
  // cancellation is seen at the next co_await after it. What the part needs it takes by argument, by value:
  //   co_await ctx.shield([](Context& c, Receipt r) -> Task<> { co_await c.run(refund, r); }, receipt);
  template <class Part, class... Args>
  auto shield(Part part, Args... args) -> std::invoke_result_t<Part&, Context&, Args...> {
    auto scope = std::make_shared<detail::Scope>(host_.driver().scope()->shared_from_this(), true);
    return within<std::invoke_result_t<Part&, Context&, Args...>>(*this, std::move(scope), std::move(part),
                                                                  std::move(args)...);
  }

 private:
  friend class Scope;
  template <class T>
  static std::vector<std::shared_ptr<detail::Branch<T>>> branches_of(const std::vector<Future<T>>& futures) {
    std::vector<std::shared_ptr<detail::Branch<T>>> branches;
    branches.reserve(futures.size());
    for (const Future<T>& future : futures) branches.push_back(future.branch());
    return branches;
  }
  template <class In, class Out>
  static std::string text(const Activity<In, Out>& activity, const In& input) {
    return detail::to_text(input, "input of activity " + activity.name());
  }
  template <class W>
  static std::string input_of(const W& workflow, const typename W::Input& input) {
    return detail::to_text(input, "input of workflow " + workflow.name());
  }
  template <class Result, class Part, class... Args>
  static Result within(Context& ctx, std::shared_ptr<detail::Scope> scope, Part part, Args... args) {
    static_assert(detail::kIsTask<Result>, "romancy: a part is a coroutine function that returns romancy::Task");
    auto body = part(ctx, std::move(args)...);
    body.within(*scope);
    co_return co_await std::move(body);
  }

  detail::Host& host_;
};

// A scope of cancellation inside a workflow: what runs in it is cancelled together, and with what is around it.
//
//   romancy::Scope scope(ctx);
//   auto search = scope.start(find(ctx, "Paris"));
//   co_await scope.run([](Context& c, Query q) -> Task<> { ... }, query);    a part of this coroutine, in the scope
//   scope.cancel("found elsewhere");       what it waits for throws WorkflowCancelled, there and at every later co_await
//
// Clean-up inside a cancelled scope goes into ctx.shield().
class Scope {
 public:
  explicit Scope(Context& ctx)
      : ctx_(ctx), scope_(std::make_shared<detail::Scope>(ctx.host_.driver().scope()->shared_from_this())) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  template <class A>
  [[nodiscard]] Future<detail::Result<A>> start(A&& branch) {
    auto begun = detail::make_branch(ctx_.host_, *scope_, std::forward<A>(branch));
    begun->begin();
    return Future<detail::Result<A>>(std::move(begun));
  }
  template <class Part, class... Args>
  auto run(Part part, Args... args) -> std::invoke_result_t<Part&, Context&, Args...> {
    return Context::within<std::invoke_result_t<Part&, Context&, Args...>>(ctx_, scope_, std::move(part),
                                                                           std::move(args)...);
  }
  // For good. Twice: the first reason counts.
  void cancel(std::string reason = {}) {
    if (scope_->cancelled) return;
    scope_->cancelled = true;
    scope_->reason = std::move(reason);
    ctx_.host_.strike();
  }
  // This scope, or one around it.
  [[nodiscard]] bool cancelled() const noexcept { return scope_->cancelled_by() != nullptr; }

 private:
  Context& ctx_;
  std::shared_ptr<detail::Scope> scope_;
};

}  // namespace romancy
