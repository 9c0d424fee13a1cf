// Task and the documented style of co_await expressions: no leak, no double free (run with sanitizers), flat stack.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

#include <romancy/romancy.hpp>

namespace romancy {
namespace {

using namespace std::chrono_literals;

// A host that answers every ask at once or when told: enough to run coroutines that use Context.
class FakeHost final : public detail::Host {
 public:
  bool at_once = true;
  std::string result = "null";
  std::vector<detail::Ask*> waiting;
  int withdrawn = 0;
  detail::Driver loop;
  std::shared_ptr<detail::Scope> top = std::make_shared<detail::Scope>();

  void open(detail::Ask& ask) {
    if (at_once) ask.answer({.kind = detail::Answer::Kind::value, .data = result});
    else waiting.push_back(&ask);
  }
  std::int32_t next_op() override { return ++op_; }
  void open_activity(detail::Ask& ask, const ActivityRef&, std::string) override { open(ask); }
  void open_sleep(detail::Ask& ask, std::optional<std::chrono::microseconds>, std::optional<std::int64_t>) override {
    open(ask);
  }
  void open_receive(detail::Ask& ask, const std::string&, std::optional<std::chrono::microseconds>, bool) override {
    open(ask);
  }
  void open_child(detail::Ask& ask, detail::NewInstance) override { open(ask); }
  void open_child_end(detail::Ask& ask, std::int32_t) override { open(ask); }
  void withdraw(std::int32_t) noexcept override { ++withdrawn; }
  detail::Driver& driver() override { return loop; }
  void strike() override {}
  void subscribe(std::string_view, bool, bool) override {}
  void join(std::string_view, bool) override {}
  void publish(detail::Publication) override {}
  void send_event(std::string_view, std::string_view, std::string, std::string) override {}
  Started start_child(detail::NewInstance) override { return {}; }
  std::string start_workflow(detail::NewInstance) override { return {}; }
  void cancel_workflow(std::string_view, std::string_view) override {}
  void set_status(std::string) override {}
  bool patched(std::string_view) override { return true; }
  void deprecate_patch(std::string_view) override {}
  void compensate_with(const ActivityRef&, std::string) override {}
  void forget_compensations() override {}
  void recur(std::string) override { throw std::logic_error("not here"); }
  std::int64_t now_micros() override { return 0; }
  std::string uuid() override { return {}; }
  std::uint64_t random() override { return 0; }
  std::string side_effect(std::string_view, const std::function<std::string()>& make) override { return make(); }
  void log(int, std::string_view, const std::string&) override {}
  [[nodiscard]] bool replaying() const noexcept override { return false; }
  [[nodiscard]] bool cancelled() const noexcept override { return false; }
  [[nodiscard]] const std::string& instance_id() const noexcept override { return name_; }
  [[nodiscard]] const std::string& workflow_name() const noexcept override { return name_; }
  [[nodiscard]] int generation() const noexcept override { return 0; }
  [[nodiscard]] std::int64_t history_length() const noexcept override { return 0; }

 private:
  std::int32_t op_ = 0;
  std::string name_ = "fake";
};

template <class T>
Task<T>& begin(Task<T>& task, FakeHost& host) {
  task.start(host.loop, *host.top);
  host.loop.run();
  return task;
}

Task<std::unique_ptr<int>> boxed(int n) {
  co_return std::make_unique<int>(n);
}

TEST(Task, HandsOnValuesThatOnlyMove) {
  FakeHost host;
  auto task = [](int n) -> Task<int> {
    const auto box = co_await boxed(n);
    co_return *box + 1;
  }(41);
  EXPECT_EQ(begin(task, host).take(), 42);
}

TEST(Task, StartsWhenItIsAwaited) {
  FakeHost host;
  bool ran = false;
  auto inner = [](bool* flag) -> Task<> {
    *flag = true;
    co_return;
  };
  auto task = [](auto make, bool* flag) -> Task<> {
    Task<> later = make(flag);
    EXPECT_FALSE(*flag);
    co_await std::move(later);
    EXPECT_TRUE(*flag);
  }(inner, &ran);
  EXPECT_FALSE(ran);
  begin(task, host).take();
}

Task<int> thrower(int levels) {
  if (levels == 0) throw std::runtime_error("deep");
  co_return co_await thrower(levels - 1);
}

TEST(Task, HandsOnExceptionsThroughEveryLevel) {
  FakeHost host;
  auto task = thrower(1000);
  EXPECT_THROW(begin(task, host).take(), std::runtime_error);
}

Task<int> one() {
  co_return 1;
}

TEST(Task, AHundredThousandAwaitsInARowDoNotOverflowTheStack) {
  FakeHost host;
  auto row = [](int n) -> Task<int> {
    int sum = 0;
    for (int i = 0; i < n; ++i) sum += co_await one();
    co_return sum;
  }(100'000);
  EXPECT_EQ(begin(row, host).take(), 100'000);
}

struct Tracer {
  std::vector<int>* order;
  int id;
  Tracer(std::vector<int>& o, int i) : order(&o), id(i) {}
  ~Tracer() { order->push_back(id); }
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;
};

Task<> nest(Context& ctx, std::vector<int>& order, int levels) {
  const Tracer tracer(order, levels);
  if (levels == 0) co_await ctx.sleep(1s);
  else co_await nest(ctx, order, levels - 1);
}

TEST(Task, DestroyingASuspendedTreeDestroysAllOfItAndWithdrawsWhatItWaitedFor) {
  FakeHost host;
  host.at_once = false;
  Context ctx(host);
  std::vector<int> order;
  {
    auto task = nest(ctx, order, 3);
    begin(task, host);
    EXPECT_TRUE(order.empty());
  }
  EXPECT_EQ(order.size(), 4u);
  EXPECT_EQ(host.withdrawn, 1);
}

// ---- The documented style with g++ 12: each of these must be clean under AddressSanitizer. ----

struct Order {
  std::string id, card;
  std::vector<std::string> items;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, card, items)
const std::string kLong = "a string that is too long to be stored in place, so that a double free is seen";

const auto charge = activity("charge", [](Attempt&, Order o) { return o; });
const auto by_text = activity("by_text", [](Attempt&, std::string) { return 1; });
const auto by_json = activity("by_json", [](Attempt&, Json j) { return j; });
const auto ping = activity("ping", [](Attempt&) {});

TEST(SdkStyle, TheDocumentedWaysToCallAreCleanWithThisCompiler) {
  FakeHost host;
  Context context(host);
  const Json order_json = {{"id", kLong}, {"card", kLong}, {"items", {kLong, kLong}}};
  host.result = order_json.dump();
  auto task = [](Context& ctx, FakeHost& h) -> Task<std::string> {
    const Order o{kLong, kLong, {kLong, kLong}};
    Order back = co_await ctx.run(charge, o);
    const auto outcome = co_await ctx.attempt(charge, o);
    back.id += outcome.value().id;
    const auto copy = (co_await ctx.attempt(charge, o)).value();
    auto later = ctx.run(charge, copy);
    back.id += (co_await later).id;
    h.result = "1";
    back.id += std::to_string(co_await ctx.run(by_text, kLong));
    back.id += std::to_string(co_await ctx.run(by_text, kLong + kLong));
    back.id += std::to_string(co_await ctx.run(by_text, "a literal that is long enough to be stored somewhere else"));
    h.result = "null";
    co_await ctx.run(ping);
    co_await ctx.sleep(1s);
    h.result = Json{{"data", kLong}, {"metadata", {{"k", kLong}}}, {"message_id", 4}}.dump();
    back.id += co_await ctx.receive<std::string>("channel", {.within = 24h});
    const auto message = co_await ctx.receive_message<std::string>("channel");
    back.id += message.data + message.metadata["k"].get<std::string>();
    if (const auto some = co_await ctx.receive_for<std::string>("channel", 5s)) back.id += *some;
    ctx.publish("c", Order{kLong, kLong, {kLong}}, {.to = kLong, .metadata = {{"k", kLong}}});
    ctx.send_event("t", "s", Json{{"k", kLong}}, {.content_type = kLong});
    const Json named = {{"k", kLong}};
    h.result = named.dump();
    const Json json = co_await ctx.run(by_json, named);
    h.result = Json(o).dump();
    const Order shielded = co_await ctx.shield(
        [](Context& c, Order x) -> Task<Order> {
          const Order y = co_await c.run(charge, x);
          co_return Order{y.id + x.id, x.card, {y.card, kLong}};
        },
        o);
    co_return back.id + json["k"].get<std::string>() + shielded.id;
  }(context, host);
  EXPECT_FALSE(begin(task, host).take().empty());
}

}  // namespace
}  // namespace romancy
