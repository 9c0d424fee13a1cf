// A test of a workflow: without a database, and without a test framework. (The workflow would be in a header of both.)
#include <romancy/romancy.hpp>
#include <romancy/testing.hpp>

const auto greet = romancy::activity("greet", [](romancy::Attempt&, std::string) {});

const auto hello = romancy::workflow("hello", [](romancy::Context& ctx, std::string name) -> romancy::Task<void> {
  co_await ctx.run(greet, name);
  co_await ctx.receive<romancy::Json>("say.it.again");
  co_await ctx.run(greet, name);
});

int main() {
  romancy::testing::Environment env({hello}, {greet}, {.forget_at_every_step = true});
  const auto greetings = env.mock(greet);
  greetings.returns();
  env.start(hello, "test");
  env.at(std::chrono::hours(1)).send("say.it.again", 1);
  env.run();
  const bool same = romancy::testing::replay_text(env.history().json(), {hello}, {greet}).ok;
  return env.status() == "completed" && greetings.calls().size() == 2 && same ? 0 : 1;
}
