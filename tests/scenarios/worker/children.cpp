// Children: workflows that start others.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::ChildError;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

const auto square = romancy::workflow("square", [](Context& ctx, int n) -> Task<int> {
  const std::string what = "square " + std::to_string(n);
  co_await ctx.run(mark, what);
  co_return n * n;
});

const auto square_of = romancy::workflow("square_of", [](Context& ctx, int n) -> Task<int> { co_return co_await ctx.child(square, n); });

// Three levels: each adds the leaf's answer.
const auto grandparent = romancy::workflow("grandparent", [](Context& ctx, int n) -> Task<int> { co_return co_await ctx.child(square_of, n) + 1; });

const auto fan = romancy::workflow("fan", [](Context& ctx, int width) -> Task<std::int64_t> {
  std::vector<romancy::Child<int>> children;
  for (int n = 1; n <= width; ++n) children.push_back(ctx.start_child(square, n));
  std::int64_t sum = 0;
  for (const auto& child : children) sum += co_await child.result();
  co_return sum;
});

const auto breaks = romancy::workflow("breaks", [](Context&, std::string why) -> Task<int> {
  throw romancy::TerminalError(why, "Broken");
  co_return 0;
});

const auto parent_of_broken = romancy::workflow("parent_of_broken", [](Context& ctx, std::string why) -> Task<std::string> {
  std::string told;
  try {
    co_await ctx.child(breaks, why);
  } catch (const ChildError& e) {
    told = e.workflow() + " " + e.type() + ": " + e.message();
  }
  co_await ctx.run(mark, told);
  co_return told;
});

// Undoes what it did when it is cancelled.
const auto ward = romancy::workflow("ward", [](Context& ctx, std::string what) -> Task<std::string> {
  co_await ctx.run(mark, what);
  ctx.compensate_with(undo, what);
  co_return co_await ctx.receive<std::string>("answer");
});

const auto guardian = romancy::workflow("guardian", [](Context& ctx, bool follows) -> Task<std::string> {
  const std::string what = "care";
  co_return co_await ctx.child(ward, what, {.id = ctx.instance_id() + "-child", .follows = follows});
});

const auto talker = romancy::workflow("talker", [](Context& ctx) -> Task<std::string> {
  const std::string what = "talk";
  const auto child = ctx.start_child(ward, what);
  ctx.publish("answer", std::string("hello " + child.id().substr(child.id().rfind('/'))), {.to = child.id()});
  co_return co_await child.result();
});

// Starts a child, forgets it and ends.
const auto forgetful = romancy::workflow("forgetful", [](Context& ctx, bool child) -> Task<std::string> {
  const std::string what = "alone";
  std::string id;
  if (child) id = ctx.start_child(ward, what, {.follows = false}).id();
  else id = ctx.start_workflow(ward, what, {.id = ctx.instance_id() + "-other"});
  co_return id;
});

const auto namesake = romancy::workflow("namesake", [](Context& ctx, std::string id) -> Task<std::string> {
  const std::string what = "twice";
  try {
    co_return co_await ctx.child(ward, what, {.id = id});
  } catch (const ChildError& e) {
    co_return e.type() + " " + e.id();
  }
});

const auto racing_parent = romancy::workflow("racing_parent", [](Context& ctx, int ms) -> Task<std::string> {
  const std::string what = "slow";
  const auto first = co_await ctx.when_any(ctx.child(ward, what, {.id = ctx.instance_id() + "-child"}),
                                           ctx.sleep(std::chrono::milliseconds(ms)));
  const std::string done = first.index() == 0 ? first.get<0>() : "too slow";
  co_await ctx.run(mark, done);
  co_return done;
});

const auto canceller = romancy::workflow("canceller", [](Context& ctx) -> Task<std::string> {
  const std::string what = "regret";
  const auto child = ctx.start_child(ward, what);
  co_await ctx.receive<Json>("regret");
  child.cancel("changed its mind");
  try {
    co_return co_await child.result();
  } catch (const ChildError& e) {
    co_return e.type() + ": " + e.message();
  }
});

// A child for each generation, which goes on while the parent begins anew.
const auto dynasty = romancy::workflow("dynasty", [](Context& ctx, int left) -> Task<int> {
  const std::string what = "heir " + std::to_string(left);
  if (left > 0) {
    ctx.start_child(ward, what, {.id = ctx.instance_id() + "-" + std::to_string(left)});
    co_await ctx.sleep(1ms);
    ctx.recur(left - 1);
  }
  co_await ctx.receive<Json>("end");
  co_return co_await ctx.child(square, 3);
});

// A child of a workflow that another program serves.
const romancy::WorkflowName<int, int> elsewhere("square", "elsewhere");
const auto emigrant = romancy::workflow("emigrant", [](Context& ctx, int n) -> Task<int> {
  co_return co_await ctx.child(elsewhere, n, {.queue = "default"});
});

// On a queue of its own, which the same program serves.
const auto annex = romancy::workflow("annex", [](Context& ctx, int n) -> Task<int> {
  const int more = co_await ctx.receive<int>("more");
  co_return co_await ctx.child(square, n) + more;
}, {.queue = "scenario-annex"});

const auto landlord = romancy::workflow("landlord", [](Context& ctx, int n) -> Task<int> {
  const auto child = ctx.start_child(annex, n);
  ctx.publish("more", 1, {.to = child.id()});
  co_return co_await child.result();
});

// Begins anew as often as it is told, and tells how often it was told in the end.
const auto reborn = romancy::workflow("reborn", [](Context& ctx, int left) -> Task<std::string> {
  const std::string what = "life " + std::to_string(left);
  co_await ctx.run(mark, what);
  if (left > 0) ctx.recur(left - 1);
  co_return what;
});
const auto parent_of_reborn = romancy::workflow("parent_of_reborn", [](Context& ctx, int n) -> Task<std::string> {
  co_return co_await ctx.child(reborn, n);
});

// A child that has lost before it was begun, if the message was there first.
const auto undecided = romancy::workflow("undecided", [](Context& ctx) -> Task<std::string> {
  const std::string what = "begun";
  const std::string id = ctx.instance_id() + "-child";
  co_await ctx.when_any(ctx.child(ward, what, {.id = id}), ctx.receive<Json>("stop"));
  co_await ctx.run(mark, id);
  co_return id;
});

// Two children that wait for their message.
const auto guardian_of_many = romancy::workflow("guardian_of_many", [](Context& ctx) -> Task<std::string> {
  const std::string what = "cared for";
  const auto first = ctx.start_child(ward, what, {.id = ctx.instance_id() + "-1"});
  const auto second = ctx.start_child(ward, what, {.id = ctx.instance_id() + "-2"});
  const std::string one = co_await first.result();
  co_return one + co_await second.result();
});

}  // namespace

void add_children(Program& program) {
  program.workflows.insert(program.workflows.end(),
                           {square, square_of, grandparent, fan, breaks, parent_of_broken, ward, guardian, talker, forgetful,
                            namesake, racing_parent, canceller, dynasty, emigrant, annex, landlord, reborn, parent_of_reborn,
                            undecided, guardian_of_many});
}
