// saga: several steps in other hands, and what undoes them when a later one fails (README.md).
//
//   book each thing the trip needs -> wait until the traveller agrees -> no way back
//      |  undone by: give_back           |
//   SoldOut                           cancelled
//      '------------- newest first ------'
#include <romancy/romancy.hpp>
#include <string>
#include <vector>

using romancy::Context, romancy::Task, romancy::Transaction;

struct Trip {
  std::string traveller;
  std::vector<std::string> needs;
};
struct Booking {
  std::string trip, what;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Trip, traveller, needs)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Booking, trip, what)

// The tables are our own, in the engine's database: so these are transactions that commit together with the record of
// their result, and take effect exactly once. Against a system elsewhere it would be romancy::activity, and give its key().
const auto book = romancy::transactional("book", [](Transaction& tx, Booking b) {
  if (tx.exec("UPDATE offers SET places = places - 1 WHERE what = $1 AND places > 0", b.what).affected() == 0) {
    throw romancy::TerminalError("no place left: " + b.what, "SoldOut");  // another attempt cannot help
  }
  tx.exec("INSERT INTO journal (trip, entry) VALUES ($1, $2)", b.trip, "booked " + b.what);
});

const auto give_back = romancy::transactional("give_back", [](Transaction& tx, Booking b) {
  tx.exec("UPDATE offers SET places = places + 1 WHERE what = $1", b.what);
  tx.exec("INSERT INTO journal (trip, entry) VALUES ($1, $2)", b.trip, "gave back " + b.what);
});

const auto travel = romancy::workflow("trip", [](Context& ctx, Trip trip) -> Task<std::string> {
  for (const std::string& what : trip.needs) {
    const Booking booking{ctx.instance_id(), what};
    co_await ctx.run(book, booking);
    ctx.compensate_with(give_back, booking);  // from here on: if it ends badly, or is cancelled
  }
  co_await ctx.receive("agreed");
  ctx.forget_compensations();  // what is booked stays booked, whatever comes
  co_return "bon voyage, " + trip.traveller;
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {travel}, {book, give_back}); }
