#include <iostream>
#include <romancy/romancy.hpp>

const auto greet = romancy::activity("greet", [](romancy::Attempt&, std::string name) { std::cout << "hello, " << name << '\n'; });

const auto hello = romancy::workflow("hello", [](romancy::Context& ctx, std::string name) -> romancy::Task<void> {
  co_await ctx.run(greet, name);
  co_await ctx.receive<romancy::Json>("say.it.again");
  co_await ctx.run(greet, name);
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {hello}, {greet}); }
