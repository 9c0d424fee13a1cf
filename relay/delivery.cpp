#include "relay/delivery.hpp"

#include <algorithm>

namespace romancy::relay {
namespace {

using std::chrono::milliseconds;

milliseconds back_off(int attempt, const RetryRule& rule, double jitter) {
  milliseconds wait = std::min(rule.first, rule.longest);
  for (int i = 1; i < attempt && wait < rule.longest; ++i) wait = std::min(wait * 2, rule.longest);
  return milliseconds(static_cast<milliseconds::rep>(static_cast<double>(wait.count()) * (0.5 + 0.5 * jitter)));
}

bool blames_the_event(int status) {
  return status == 413 || status == 415 || status == 422;
}

std::string describe(const Answer& answer) {
  if (answer.status == 0) return answer.error.empty() ? "no answer" : answer.error;
  std::string text = "HTTP " + std::to_string(answer.status);
  if (answer.status >= 300 && answer.status < 400) text += " (redirects are not followed)";
  if (!answer.error.empty()) text += ": " + answer.error;
  return text;
}

}  // namespace

Verdict judge(const Answer& answer, int attempt, const RetryRule& rule, double jitter) {
  if (answer.status >= 200 && answer.status < 300) return {.fate = Fate::delivered, .wait = {}, .why = {}};
  Verdict verdict{.fate = Fate::again, .wait = {}, .why = describe(answer)};
  if (blames_the_event(answer.status) || (rule.attempts > 0 && attempt >= rule.attempts)) {
    verdict.fate = Fate::given_up;
    return verdict;
  }
  verdict.wait = back_off(attempt, rule, jitter);
  if (answer.retry_after) {
    verdict.wait = std::max<milliseconds>(verdict.wait, std::min(*answer.retry_after, kLongestRetryAfter));
  }
  return verdict;
}

}  // namespace romancy::relay
