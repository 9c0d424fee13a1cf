// children: workflows that a workflow starts.
//
//   Receipt r = co_await ctx.child(ship, order);              starts it and waits: its output, or throws ChildError
//   Child<Receipt> c = ctx.start_child(ship, order, {.id = "ship-7"});   starts it with the next commit
//   ctx.publish("address", a, {.to = c.id()});                a message to it
//   Receipt r = co_await c.result();                          now, later, in another branch, or never
//   std::string id = ctx.start_workflow(audit, order);        no child: nobody is told how it ends
//
// What is started is named by the Workflow object; for one that another program runs, by a WorkflowName:
//   const romancy::WorkflowName<Order, Receipt> ship("ship", "warehouse");
//
// An id that is not given is derived: "<parent>/<operation>", in a later generation, or where an instance of that id
// may have been removed before, "<parent>/<number>.<operation>". A child whose id an instance has already, finished or not,
// is refused: ChildError of the type ChildRefused; start_workflow() means that instance then, and starts nothing.
//
// A child that `follows` (the default) is cancelled when its parent ends, however that ends, and when the part of the
// parent that waits in ctx.child() is cancelled or loses a race; the parent does not wait until it has ended. One that
// does not follow goes on by itself. When the parent recurs, its children go on; nobody is told how they end any more,
// and those that follow do so until the last generation ends.
#pragma once
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <romancy/detail/host.hpp>
#include <romancy/error.hpp>
#include <romancy/json.hpp>

namespace romancy {

// Read at once: what it points to need not live longer than the call.
struct ChildOptions {
  std::string_view id{};     // up to 255 bytes; empty: derived
  std::string_view queue{};  // empty: the workflow's own
  bool follows = true;
  int priority = 0;        // -4 .. 4: docs/queues.md has this and the next
  std::string_view key{};
};

// A workflow that this program does not run: its name and types are all a parent needs.
template <class In, class Out>
class WorkflowName {
 public:
  using Input = In;
  using Output = Out;
  explicit WorkflowName(std::string name, std::string queue = "default")
      : name_(std::move(name)), queue_(std::move(queue)) {}
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& queue() const noexcept { return queue_; }

 private:
  std::string name_, queue_;
};

namespace detail {

template <class W>
concept Startable = requires(const W& workflow) {
  typename W::Input;
  typename W::Output;
  { workflow.name() } -> std::convertible_to<std::string>;
  { workflow.queue() } -> std::convertible_to<std::string>;
};

template <Startable W>
NewInstance new_instance(const W& workflow, std::string input, const ChildOptions& options) {
  return {workflow.name(), std::move(input), std::string(options.id),
          options.queue.empty() ? std::string(workflow.queue()) : std::string(options.queue), options.follows,
          options.priority, std::string(options.key)};
}

template <class Out>
class ChildAsk : public Ask {
 public:
  Out await_resume() {
    if (answer_.kind == Answer::Kind::cancelled) throw WorkflowCancelled(answer_.data);
    if (answer_.kind == Answer::Kind::failed) {
      throw ChildError(workflow_, answer_.instance_id, answer_.error_type, answer_.error_message);
    }
    if constexpr (!std::is_void_v<Out>) {
      try {
        return from_text<Out>(answer_.data, "output");
      } catch (const BadData& e) {
        throw ChildError(workflow_, answer_.instance_id, "BadData", e.what());
      }
    }
  }

 protected:
  ChildAsk(Host& host, std::string workflow) : Ask(host), workflow_(std::move(workflow)) {}
  std::string workflow_;
};

template <class Out>
class RunChild : public ChildAsk<Out> {
 public:
  RunChild(Host& host, NewInstance child) : ChildAsk<Out>(host, child.workflow), child_(std::move(child)) {}
  bool await_ready() {
    if (this->opening()) this->host_->open_child(*this, std::move(child_));
    return this->answered();
  }

 private:
  NewInstance child_;
};

template <class Out>
class ChildEnd : public ChildAsk<Out> {
 public:
  ChildEnd(Host& host, std::string workflow, std::int32_t child)
      : ChildAsk<Out>(host, std::move(workflow)), child_(child) {}
  bool await_ready() {
    if (this->opening()) this->host_->open_child_end(*this, child_);
    return this->answered();
  }

 private:
  std::int32_t child_;
};

}  // namespace detail

// A child that was started. Cheap to copy; dropping it changes nothing.
template <class Out>
class Child {
 public:
  Child(detail::Host& host, std::string workflow, detail::Host::Started started)
      : host_(&host), workflow_(std::move(workflow)), started_(std::move(started)) {}

  [[nodiscard]] const std::string& id() const noexcept { return started_.id; }
  // co_await gives its output, or throws ChildError; as often as you like, but not in two branches at once. A branch
  // that waits here and is cancelled leaves the child alone.
  [[nodiscard]] detail::ChildEnd<Out> result() const { return {*host_, workflow_, started_.op}; }
  // Asks it to stop and compensate; result() tells how it ended.
  void cancel(std::string_view reason = {}) const { host_->cancel_workflow(started_.id, reason); }

 private:
  detail::Host* host_;
  std::string workflow_;
  detail::Host::Started started_;
};

}  // namespace romancy
