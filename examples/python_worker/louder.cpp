// louder: a workflow whose activity is carried out by whoever serves the queue "words": worker.py, here (README.md).
#include <chrono>
#include <romancy/romancy.hpp>
#include <string>

using namespace std::chrono_literals;
using romancy::Context, romancy::Task;

// Its name, its types and its policy are all this program has of it.
const romancy::QueuedActivity<std::string, std::string> shout("shout", {.queue = "words", .heartbeat_timeout = 30s});

const auto louder = romancy::workflow("louder", [](Context& ctx, std::string words) -> Task<std::string> {
  co_return co_await ctx.run(shout, words);
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {louder}, {}); }
