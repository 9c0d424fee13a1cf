// hello: the smallest workflow that does something and waits for something (README.md).
#include <romancy/romancy.hpp>
#include <string>

using romancy::Attempt, romancy::Context, romancy::Task;

// Effects happen in activities. This one makes words only; yours sends mail, charges a card, calls another program. What it
// returns is recorded once; when it throws, it is tried again.
const auto greet = romancy::activity("greet", [](Attempt&, std::string name) { return "Hello, " + name + "!"; });

// A workflow decides. Whenever it has to go on and is not in memory, it is run from the top and told what it was told
// before: so it asks nobody but ctx for what may differ from one time to the next.
const auto hello = romancy::workflow("hello", [](Context& ctx, std::string name) -> Task<std::string> {
  const std::string greeting = co_await ctx.run(greet, name);
  ctx.set_status(greeting);                                              // for others to read meanwhile
  const auto answer = co_await ctx.receive<std::string>("answer");       // for a minute or for a year
  co_return name + " says " + answer;
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {hello}, {greet}); }
