// What users get wrong, one thing at a time: WRONG chooses which; 0 is right. cmake/CheckErrors.cmake compiles each, and wants one error
// that holds the sentence behind `says:`.
#include <romancy/romancy.hpp>
using romancy::Attempt, romancy::Context, romancy::Task;

struct Plain {  // has no conversions
  std::string id;
};
struct Order {
  std::string id;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id)
const auto charge = romancy::activity("charge", [](Attempt&, Order order) { return order.id; });

#if WRONG == 1  // says: a workflow returns romancy::Task<Output>
const auto bad = romancy::workflow("w", [](Context&, int) { return 1; });
#elif WRONG == 2  // says: a workflow is a function or a lambda with plain parameter types (no auto)
const auto bad = romancy::workflow("w", [](auto&, int n) -> Task<int> { co_return n; });
#elif WRONG == 3  // says: a workflow is a function or a lambda with plain parameter types (no auto)
const auto bad = romancy::workflow("w", 7);
#elif WRONG == 4  // says: a workflow is called as f(romancy::Context&)
const auto bad = romancy::workflow("w", [](int n) -> Task<int> { co_return n; });
#elif WRONG == 5  // says: a workflow is called as f(romancy::Context&)
const auto bad = romancy::workflow("w", [](Context&, int, int) -> Task<int> { co_return 1; });
#elif WRONG == 6  // says: a workflow takes its input by value
const auto bad = romancy::workflow("w", [](Context&, const std::string& s) -> Task<std::string> { co_return s; });
#elif WRONG == 7  // says: a workflow's input needs from_json
const auto bad = romancy::workflow("w", [](Context&, Plain) -> Task<int> { co_return 1; });
#elif WRONG == 8  // says: a workflow's output needs to_json
const auto bad = romancy::workflow("w", [](Context&) -> Task<Plain> { co_return Plain{}; });
#elif WRONG == 9  // says: a workflow's lambda must not be mutable
const auto bad = romancy::workflow("w", [n = 0](Context&) mutable -> Task<int> { co_return n++; });
#elif WRONG == 10  // says: an activity is called as f(romancy::Attempt&)
const auto bad = romancy::activity("a", [](int n) { return n; });
#elif WRONG == 11  // says: an activity is a function or a lambda with plain parameter types (no auto)
const auto bad = romancy::activity("a", [](auto&, int n) { return n; });
#elif WRONG == 12  // says: an activity's input needs to_json and from_json
const auto bad = romancy::activity("a", [](Attempt&, Plain) {});
#elif WRONG == 13  // says: a result needs to_json and from_json
const auto bad = romancy::activity("a", [](Attempt&) { return Plain{}; });
#elif WRONG == 14  // says: an activity takes its input by value or by const reference
const auto bad = romancy::activity("a", [](Attempt&, std::string& s) { s = "x"; });
#elif WRONG == 15  // says: an activity's lambda must not be mutable
const auto bad = romancy::activity("a", [n = 0](Attempt&) mutable { return n++; });
#elif WRONG == 16  // says: a transactional one with romancy::Transaction&
const auto bad = romancy::transactional("a", [](Attempt&, int n) { return n; });
#elif WRONG == 17  // says: an asynchronous activity returns romancy::Async<T>
const auto bad = romancy::async_activity("a", [](romancy::AsyncAttempt&, int n) { return n; });
#elif WRONG == 18  // says: an activity takes its input by value or by const reference; an asynchronous one by value
const auto bad = romancy::async_activity("a", [](romancy::AsyncAttempt&, const std::string& s) -> romancy::Async<std::string> { co_return s; });
#elif WRONG == 19  // says: a workflow may only co_await what Context gives
const auto bad = romancy::workflow("w", [](Context&) -> Task<> { co_await std::suspend_always{}; });
#elif WRONG == 20  // says: this type has no from_json
const auto bad = romancy::workflow("w", [](Context& ctx) -> Task<> { co_await ctx.receive<Plain>("c"); });
#elif WRONG == 21  // says: this type has no to_json
const auto bad = romancy::workflow("w", [](Context& ctx) -> Task<> {
  ctx.set_status(Plain{});
  co_return;
});
#elif WRONG == 22  // says: use of deleted function
const auto bad = romancy::workflow("w", [](Context& ctx) -> Task<> { co_await ctx.run(charge, Order{"o-1"}); });
#else
const auto bad = romancy::workflow("w", [](Context& ctx, Order order) -> Task<std::string> { co_return co_await ctx.run(charge, order); });
#endif

// Whoever names what is wrong is not complained about, too.
#if WRONG < 10 || WRONG > 18
int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {bad}, {charge}); }
#else
int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {}, {bad}); }
#endif
