// children: a workflow that starts others, and what becomes of them (README.md).
#include <romancy/romancy.hpp>
#include <string>
#include <vector>

using romancy::Attempt, romancy::Context, romancy::Json, romancy::Task;

struct Parcel {
  std::string to;
  bool signature = false;
};
struct Order {
  std::vector<Parcel> parcels;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Parcel, to, signature)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, parcels)

const auto carry = romancy::activity("carry", [](Attempt&, std::string to) {
  if (to == "Atlantis") throw romancy::TerminalError("no such port", "Lost");
});

const auto parcel = romancy::workflow("parcel", [](Context& ctx, Parcel p) -> Task<std::string> {
  co_await ctx.run(carry, p.to);
  if (!p.signature) co_return "left at the door";
  co_return "signed by " + co_await ctx.receive<std::string>("signature");
});

const auto bookkeeping = romancy::workflow("bookkeeping", [](Context&, std::string order) -> Task<std::string> {
  co_return order + " is in the books";
});

const auto order = romancy::workflow("order", [](Context& ctx, Order o) -> Task<Json> {
  // No child: it goes its own way, and nobody is told how it ends.
  ctx.start_workflow(bookkeeping, ctx.instance_id(), {.id = "books-of-" + ctx.instance_id()});

  // All of them start with the next commit, each an instance with an id, a history and retries of its own.
  std::vector<romancy::Child<std::string>> children;
  for (const Parcel& p : o.parcels) children.push_back(ctx.start_child(parcel, p, {.id = ctx.instance_id() + "-to-" + p.to}));

  Json fate;
  for (std::size_t i = 0; i < children.size(); ++i) {
    try {
      fate[o.parcels[i].to] = co_await children[i].result();
    } catch (const romancy::ChildError& e) {
      fate[o.parcels[i].to] = e.type() + ": " + e.message();
    }
  }
  co_return fate;
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {order, parcel, bookkeeping}, {carry}); }
