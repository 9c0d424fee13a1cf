// testing: workflows without PostgreSQL, without a worker, without waiting. Link romancy::testing.
//
//   romancy::testing::Environment env({order}, {charge, refund});
//   env.mock(charge).fails("BankAway").returns(Receipt{"r-1"}).takes(2s);   the first attempt fails, all others succeed
//   env.start(order, o, "o-1");
//   env.at(5min).send("payment.confirmed", payment);
//   env.run();                                  the clock jumps to whatever is due next; nothing sleeps
//   EXPECT_EQ(env.result<std::string>(), "shipped");
//   EXPECT_EQ(env.history().text(false), "1 started\n2 activity_completed 'charge' (operation 1)\n ..");
//
// What runs is the engine's own code for everything that a workflow is told and does; the database, the clock, and who
// carries out activities are in memory. Retries, time-outs, cancellations, compensations, channels, groups, children and
// queued activities behave as docs/concepts.md says, by the clock of the test.
//
// Activities: one that is mocked does what the mock says; else the real function of a romancy::activity is called, here and
// at once. A transactional or asynchronous one needs a database, or a worker's loop: it must be mocked, or run() throws. A
// queued one is carried out if it is registered or mocked; else it waits, as it would, for complete() or fail().
// Children: a workflow that is mocked does what the mock says; one that was given to the Environment is run; any other
// never ends by itself, complete() and fail() end it.
//
// Failure: what the test got wrong, or asks for and is not there, throws Failure, whose text says what the instance waits
// for. Nothing here needs a test framework (inside namespace romancy, GoogleTest is ::testing). One Environment is used by one
// thread; several are independent of each other.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <romancy/activity.hpp>
#include <romancy/children.hpp>
#include <romancy/json.hpp>
#include <romancy/workflow.hpp>

namespace romancy::testing {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  // What the clock says at first.
  std::chrono::system_clock::time_point starts_at = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1);
  // Code that waits is thrown out of memory, and run again from history when it goes on: code that does not do the same
  // when told the same is found. While activities are under way it is run again beside the one in memory.
  bool forget_at_every_step = false;
  // So often the clock may jump in one run(): a workflow that never ends is a Failure, and no test that never ends.
  int most_steps = 100'000;
};

// One row of history.
struct Event {
  std::int64_t seq = 0;
  std::int32_t op = 0;      // the operation, in the order of the code; 0: the instance itself
  std::string kind;         // as in the view workflow_history: "activity_completed"
  std::string name;         // of the activity, channel, ..
  std::string data;         // JSON text
  bool operator==(const Event&) const = default;
  template <class T>
  [[nodiscard]] T as() const {
    return romancy::detail::from_text<T>(data, kind + " " + name);
  }
};

struct History {
  std::string instance_id, workflow, status;
  int generation = 0, first_generation = 0;
  std::vector<Event> events;

  // One line a row: "2 activity_completed 'charge' (operation 1) {..}". For comparing with a text in the test.
  [[nodiscard]] std::string text(bool with_data = true) const;
  [[nodiscard]] int count(std::string_view kind, std::string_view name = {}) const;  // name: empty for any
  // What `romancy history export` prints and replay_file() reads.
  [[nodiscard]] std::string json() const;
};

struct Sent {  // an event of the outbox
  std::string instance_id, event_id, type, source, content_type, data;
  template <class T>
  [[nodiscard]] T as() const {
    return romancy::detail::from_text<T>(data, "event " + type);
  }
};

struct Published {
  std::string instance_id, channel, data, metadata;
  std::optional<std::string> to, to_group;
  template <class T>
  [[nodiscard]] T as() const {
    return romancy::detail::from_text<T>(data, "message on channel " + channel);
  }
};

struct Started {  // an instance that a workflow started
  std::string by, instance_id, workflow, input;
  bool child = false;
};

struct ErrorInfo {
  std::string type, message;
  bool operator==(const ErrorInfo&) const = default;
};

struct Call {  // an attempt of an activity, or a start of a workflow that is mocked
  std::string instance_id, name, key, input;  // input: JSON text
  int attempt = 1;
  std::chrono::microseconds at{0};  // since the Environment began
  template <class T>
  [[nodiscard]] T as() const {
    return romancy::detail::from_text<T>(input, "input of " + name);
  }
};


namespace detail {

struct MockStep {
  std::function<AttemptResult(Attempt&, const std::string&)> act;  // none: it hangs
  std::chrono::microseconds takes{0};
  int times = 1;
};

struct MockScript {
  std::string name;
  std::deque<MockStep> steps;  // a step may add steps
  std::vector<Call> calls;
  std::size_t next = 0;  // step
  int used = 0;          // so often
};

// What is behind an Environment; in the library, which is given text only.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual void at(std::chrono::microseconds since_start, std::function<void()> action) = 0;
  virtual std::string start(const std::string& workflow, const std::string& input, const std::string& id) = 0;
  virtual void send(const std::string& id, const std::string& channel, const std::string& data, const std::string& metadata) = 0;
  virtual void publish(const std::string& channel, const std::string& data, const std::string& metadata,
                       const std::optional<std::string>& group) = 0;
  virtual void cancel(const std::string& id, const std::string& reason) = 0;
  virtual void decide(const std::string& id, bool retry) = 0;
  virtual void end_activity(const std::string& name, const AttemptResult& result) = 0;
  virtual void end_child(const std::string& workflow, const AttemptResult& result) = 0;
  virtual std::shared_ptr<MockScript> mock_activity(const ActivityRef& activity) = 0;
  virtual std::shared_ptr<MockScript> mock_workflow(const std::string& name) = 0;
  virtual void run(std::optional<std::chrono::microseconds> for_so_long) = 0;
  virtual void deploy(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) = 0;
  virtual void die_at(int point) = 0;
  [[nodiscard]] virtual bool died() const = 0;
  [[nodiscard]] virtual std::chrono::microseconds elapsed() const = 0;
  [[nodiscard]] virtual std::string status(const std::string& id) const = 0;
  [[nodiscard]] virtual std::string output(const std::string& id) const = 0;  // throws Failure: it has not completed
  [[nodiscard]] virtual ErrorInfo error(const std::string& id) const = 0;
  [[nodiscard]] virtual std::string progress(const std::string& id) const = 0;
  [[nodiscard]] virtual std::string waits_for(const std::string& id) const = 0;
  [[nodiscard]] virtual History history(const std::string& id) const = 0;
  [[nodiscard]] virtual const std::vector<Sent>& events() const = 0;
  [[nodiscard]] virtual const std::vector<Published>& published() const = 0;
  [[nodiscard]] virtual const std::vector<Started>& started() const = 0;
  [[nodiscard]] virtual const std::vector<Call>& attempts() const = 0;
};

std::unique_ptr<Engine> make_engine(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities,
                                    const Options& options);

template <class Out>
AttemptResult success(const auto& value) {
  return {.ok = true, .data = romancy::detail::to_text<Out>(value, "result")};
}

inline AttemptResult failure(std::string type, std::string message, bool terminal = false) {
  return {.error_type = std::move(type), .error_message = std::move(message), .terminal = terminal};
}

template <class In, class F>
decltype(auto) call_mock(F& function, Attempt& attempt, const std::string& input) {
  if constexpr (!std::is_void_v<In> && std::is_invocable_v<F&, Attempt&, In>) {
    return function(attempt, romancy::detail::from_text<In>(input, "input"));
  } else if constexpr (!std::is_void_v<In> && std::is_invocable_v<F&, In>) {
    return function(romancy::detail::from_text<In>(input, "input"));
  } else if constexpr (std::is_invocable_v<F&, Attempt&>) {
    return function(attempt);
  } else {
    static_assert(std::is_invocable_v<F&>, "romancy: a mock is called as f(), f(Input), f(Attempt&) or f(Attempt&, Input)");
    return function();
  }
}


}  // namespace detail

// What comes of an activity, or of a child workflow: a sequence of steps, each for one attempt (or start), over all calls in
// this Environment. The last step is for all that follow.
template <class In, class Out>
class Mock {
 public:
  explicit Mock(std::shared_ptr<detail::MockScript> script) : script_(std::move(script)) {}

  template <class O = Out>
    requires(!std::is_void_v<O>)
  const Mock& returns(const O& value) const {
    return step([result = detail::success<O>(value)](Attempt&, const std::string&) { return result; });
  }
  const Mock& returns() const
    requires std::is_void_v<Out>
  {
    return step([](Attempt&, const std::string&) { return AttemptResult{.ok = true, .data = "null"}; });
  }
  // The attempt fails as if it had thrown an exception of this type; the activity's policy says whether there is another.
  const Mock& fails(std::string type, std::string message = {}) const {
    return step([result = detail::failure(std::move(type), std::move(message))](Attempt&, const std::string&) { return result; });
  }
  // As TerminalError: there is no other attempt.
  const Mock& fails_for_good(std::string type, std::string message = {}) const {
    return step([result = detail::failure(std::move(type), std::move(message), true)](Attempt&, const std::string&) { return result; });
  }
  // Called as f(), f(Input), f(Attempt&) or f(Attempt&, Input); what it throws fails the attempt.
  template <class F>
  const Mock& does(F function) const {
    return step([function](Attempt& attempt, const std::string& input) mutable -> AttemptResult {
      try {
        if constexpr (std::is_void_v<Out>) {
          detail::call_mock<In>(function, attempt, input);
          return {.ok = true, .data = "null"};
        } else {
          return detail::success<Out>(Out(detail::call_mock<In>(function, attempt, input)));
        }
      } catch (const Failure&) {
        throw;  // the test's own
      } catch (...) {
        return romancy::detail::failed_attempt();
      }
    });
  }
  // It does not come back by itself: until it is asked to stop, its time-out is over, or the test ends it (complete, fail).
  const Mock& hangs() const { return step({}); }

  // Of the step before this: the time from the beginning of the attempt to its end, by the clock of the test.
  const Mock& takes(std::chrono::microseconds time) const {
    last().takes = time;
    return *this;
  }
  // The step before this is for so many attempts.
  const Mock& times(int count) const {
    last().times = count;
    return *this;
  }

  [[nodiscard]] const std::vector<Call>& calls() const { return script_->calls; }

 private:
  const Mock& step(std::function<AttemptResult(Attempt&, const std::string&)> act) const {
    script_->steps.push_back({std::move(act), {}, 1});
    return *this;
  }
  detail::MockStep& last() const {
    if (script_->steps.empty()) throw Failure("the mock of '" + script_->name + "': takes() and times() follow a step");
    return script_->steps.back();
  }
  std::shared_ptr<detail::MockScript> script_;
};

// What others do to the instances: at once (on the Environment), or at a moment (on what at() returns).
class Actions {
 public:
  Actions(detail::Engine& engine, std::optional<std::chrono::microseconds> when) : engine_(engine), when_(when) {}

  // A direct message. to: the instance, by default the first that was started.
  template <class T>
  const Actions& send(std::string_view channel, const T& data, std::string to = {}, const Json& metadata = Json::object()) const {
    return act([&engine = engine_, channel = std::string(channel), to = std::move(to),
                text = romancy::detail::to_text(data, "send"), meta = romancy::detail::to_text(metadata, "send: metadata")] {
      engine.send(to, channel, text, meta);
    });
  }
  // To the channel's subscribers, or, when it is a competing one, to one of those that wait.
  template <class T>
  const Actions& publish(std::string_view channel, const T& data, const Json& metadata = Json::object()) const {
    return post(channel, romancy::detail::to_text(data, "publish"), metadata, std::nullopt);
  }
  template <class T>
  const Actions& publish_to_group(std::string_view group, std::string_view channel, const T& data) const {
    return post(channel, romancy::detail::to_text(data, "publish"), Json::object(), std::string(group));
  }
  const Actions& cancel(std::string reason = {}, std::string id = {}) const {
    return act([&engine = engine_, reason = std::move(reason), id = std::move(id)] { engine.cancel(id, reason); });
  }
  // Compensations failed for good: they run again, or are given up.
  const Actions& retry_compensations(std::string id = {}) const {
    return act([&engine = engine_, id = std::move(id)] { engine.decide(id, true); });
  }
  const Actions& give_up_compensations(std::string id = {}) const {
    return act([&engine = engine_, id = std::move(id)] { engine.decide(id, false); });
  }
  // The oldest attempt of this activity (or child of this workflow) that hangs, or that nobody here carries out, ends.
  template <class A, class T>
  const Actions& complete(const A& what, const T& result) const {
    return end(what, {.ok = true, .data = romancy::detail::to_text(result, "result")});
  }
  template <class A>
  const Actions& complete(const A& what) const {
    return end(what, {.ok = true, .data = "null"});
  }
  template <class A>
  const Actions& fail(const A& what, std::string type, std::string message = {}) const {
    return end(what, detail::failure(std::move(type), std::move(message)));
  }
  // Whatever else the test wants to do then.
  const Actions& call(std::function<void()> action) const { return act(std::move(action)); }

 protected:
  const Actions& act(std::function<void()> action) const {
    if (when_) engine_.at(*when_, std::move(action));
    else action();
    return *this;
  }

 private:
  const Actions& post(std::string_view channel, std::string text, const Json& metadata, std::optional<std::string> group) const {
    return act([&engine = engine_, channel = std::string(channel), text = std::move(text), group = std::move(group),
                meta = romancy::detail::to_text(metadata, "publish: metadata")] { engine.publish(channel, text, meta, group); });
  }
  template <class A>
  const Actions& end(const A& what, AttemptResult result) const {
    return act([&engine = engine_, name = what.name(), result = std::move(result)] {
      if constexpr (std::is_base_of_v<ActivityRef, A>) engine.end_activity(name, result);
      else engine.end_child(name, result);
    });
  }
  detail::Engine& engine_;
  std::optional<std::chrono::microseconds> when_;
};

namespace detail {
struct EngineHolder {  // a base, so that it is there before Actions
  std::unique_ptr<Engine> engine;
};
}  // namespace detail

class Environment : private detail::EngineHolder, public Actions {
 public:
  // As run_worker() takes them. Throws Failure when that would refuse.
  explicit Environment(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities = {},
                       const Options& options = {})
      : EngineHolder{detail::make_engine(workflows, activities, options)}, Actions(*engine, std::nullopt), starts_at_(options.starts_at) {}
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  // ---- who carries out what. An activity that was not given to the Environment is added to it ----
  template <class In, class Out>
  Mock<In, Out> mock(const Activity<In, Out>& activity) {
    return Mock<In, Out>(engine->mock_activity(activity));
  }
  template <romancy::detail::Startable W>
  Mock<typename W::Input, typename W::Output> mock(const W& workflow) {
    return Mock<typename W::Input, typename W::Output>(engine->mock_workflow(workflow.name()));
  }

  // ---- what happens ----
  // Its id. Nothing runs until run().
  template <romancy::detail::Startable W>
    requires(!std::is_void_v<typename W::Input>)
  std::string start(const W& workflow, const typename W::Input& input, const std::string& id = {}) {
    return engine->start(workflow.name(), romancy::detail::to_text(input, "input of workflow " + workflow.name()), id);
  }
  template <romancy::detail::Startable W>
    requires(std::is_void_v<typename W::Input>)
  std::string start(const W& workflow, const std::string& id = {}) {
    return engine->start(workflow.name(), "null", id);
  }
  // So long after the Environment began.
  [[nodiscard]] Actions at(std::chrono::microseconds since_start) { return {*engine, since_start}; }

  // Until all have ended, or nothing will happen by itself.
  void run() { engine->run(std::nullopt); }
  // What happens in this time; the clock is so much later then.
  void run_for(std::chrono::microseconds time) { engine->run(time); }

  // Another version of the program takes over: what is under way dies with the old one, what is parked goes on.
  void deploy(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) {
    engine->deploy(workflows, activities);
  }
  // The worker dies at its n-th point (0, 1, ..): before a commit, behind it, or when an activity has had its effect and nobody
  // knows yet; another takes over at once. died(): it came to that point.
  void die_at(int point) { engine->die_at(point); }
  [[nodiscard]] bool died() const { return engine->died(); }

  // ---- what came of it. id: by default the first that was started ----
  [[nodiscard]] std::chrono::microseconds elapsed() const { return engine->elapsed(); }
  [[nodiscard]] std::chrono::system_clock::time_point now() const { return starts_at_ + elapsed(); }
  // running, completed, failed, cancelled, stuck (its code does not fit its history), compensating
  [[nodiscard]] std::string status(const std::string& id = {}) const { return engine->status(id); }
  // Throws Failure unless it has completed: how it ended instead, or what it waits for.
  template <class Out>
  [[nodiscard]] Out result(const std::string& id = {}) const {
    return romancy::detail::from_text<Out>(engine->output(id), "output");
  }
  // Throws Failure unless it has failed or was cancelled ("WorkflowCancelled" and the reason).
  [[nodiscard]] ErrorInfo error(const std::string& id = {}) const { return engine->error(id); }
  // What ctx.set_status() said last. Throws Failure when it has said nothing.
  template <class T>
  [[nodiscard]] T status_value(const std::string& id = {}) const {
    return romancy::detail::from_text<T>(engine->progress(id), "status value");
  }
  // In words: "a message on channel 'payment' (operation 3)"; of one that has ended, how.
  [[nodiscard]] std::string waits_for(const std::string& id = {}) const { return engine->waits_for(id); }
  // Of the present generation.
  [[nodiscard]] History history(const std::string& id = {}) const { return engine->history(id); }
  // Of all instances, in order.
  [[nodiscard]] const std::vector<Sent>& events() const { return engine->events(); }
  [[nodiscard]] const std::vector<Published>& published() const { return engine->published(); }
  [[nodiscard]] const std::vector<Started>& started() const { return engine->started(); }
  [[nodiscard]] const std::vector<Call>& attempts() const { return engine->attempts(); }

 private:
  std::chrono::system_clock::time_point starts_at_;
};

// ---- histories that were recorded, against the code of today ----

struct Replay {
  bool ok = false;
  std::string source{};                 // the file
  std::string instance_id{}, workflow{};
  std::int64_t seq = 0;               // the first row that the code does not agree with; 0: it is not that
  std::int32_t op = 0;
  std::string recorded{}, now{};          // that row, and what the code did instead, in words
  std::string text{};                   // why it is not ok: the engine's own words, or what is wrong with the file, and where
  explicit operator bool() const noexcept { return ok; }
};

struct Replays {
  std::vector<Replay> all;
  [[nodiscard]] bool ok() const;            // all are; none at all is not ok
  [[nodiscard]] std::string text() const;   // a line for each that is not
};

// Tells the code what is recorded in a file that `romancy history export ID` wrote, or History::json(): of an instance that
// has ended or not. Reads nothing else, writes nothing, and runs no activity. Should the code go on behind the end of what is
// recorded, an activity that is not among `activities` fails there as in a program that does not have it.
// Never throws for what is in a file: one that cannot be read is not ok.
[[nodiscard]] Replay replay_file(const std::string& path, const std::vector<WorkflowRef>& workflows,
                                 const std::vector<ActivityRef>& activities = {});
[[nodiscard]] Replay replay_text(std::string_view json, const std::vector<WorkflowRef>& workflows,
                                 const std::vector<ActivityRef>& activities = {}, const std::string& source = "history");
// Every *.json of a folder, by name.
[[nodiscard]] Replays replay_directory(const std::string& path, const std::vector<WorkflowRef>& workflows,
                                       const std::vector<ActivityRef>& activities = {});

}  // namespace romancy::testing
