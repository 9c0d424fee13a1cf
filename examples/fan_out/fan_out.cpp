// fan_out: many activities at once, and one result (README.md).
#include <algorithm>
#include <cctype>
#include <map>
#include <romancy/romancy.hpp>
#include <string>
#include <vector>

using romancy::Attempt, romancy::Context, romancy::Future, romancy::Json, romancy::Task;
using Lines = std::vector<std::string>;
using Counts = std::map<std::string, int>;

const auto count_line = romancy::activity("count_line", [](Attempt&, std::string line) {
  Counts counts;
  std::string word;
  line += ' ';
  for (const char c : line) {
    if (std::isalpha(static_cast<unsigned char>(c))) word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!word.empty()) ++counts[std::exchange(word, {})];
  }
  return counts;
});

Json summary(const Counts& counts) {
  int words = 0;
  std::vector<std::pair<int, std::string>> most;
  for (const auto& [word, times] : counts) {
    words += times;
    most.emplace_back(-times, word);
  }
  std::sort(most.begin(), most.end());
  Json often;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, most.size()); ++i) often[most[i].second] = -most[i].first;
  return {{"words", words}, {"different", counts.size()}, {"often", often}};
}

// All at once. They begin with the workflow's next commit, run on the threads of this worker, and may end in any order:
// history remembers which.
const auto count_all = romancy::workflow("count_all", [](Context& ctx, Lines lines) -> Task<Json> {
  std::vector<Future<Counts>> counting;
  for (const std::string& line : lines) counting.push_back(ctx.start(ctx.run(count_line, line)));
  const std::vector<Counts> each = co_await ctx.wait_all(counting);  // the first error would end it

  Counts total;
  for (const Counts& counts : each) {
    for (const auto& [word, times] : counts) total[word] += times;
  }
  co_return summary(total);
});

// Never more than three at once: the next one begins when any has ended.
const auto count_gently = romancy::workflow("count_gently", [](Context& ctx, Lines lines) -> Task<Json> {
  Counts total;
  std::vector<Future<Counts>> counting;
  for (auto line = lines.begin(); line != lines.end() || !counting.empty();) {
    while (counting.size() < 3 && line != lines.end()) counting.push_back(ctx.start(ctx.run(count_line, *line++)));
    const std::size_t ended = co_await ctx.wait_any(counting);
    const Counts counts = co_await counting[ended];
    for (const auto& [word, times] : counts) total[word] += times;
    counting.erase(counting.begin() + static_cast<std::ptrdiff_t>(ended));
  }
  co_return summary(total);
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {count_all, count_gently}, {count_line}); }
