#include "timer/deadlines.hpp"

#include <algorithm>
#include <charconv>

#include "common/base/json.hpp"

namespace romancy::timer {

using std::chrono::microseconds;
using std::chrono::milliseconds;

void Deadlines::looking() {
  known_us_.reset();
  look_at_.reset();
  full_ = false;
}

void Deadlines::answered(const Answer& answer) {
  looking();
  full_ = answer.limit > 0 && answer.fired >= answer.limit;
  const bool overdue = answer.next_us && *answer.next_us <= 0;
  if (full_ || !overdue) locked_tries_ = 0;
  if (full_ || !answer.next_us) return;
  if (overdue) {
    // Due, there, and not ours: somebody holds its row, or it became due between the two statements of this look.
    const int tries = locked_tries_++;
    const milliseconds wait{tries == 0 ? 0 : 1L << std::min(tries - 1, 20)};
    look_at_ = answer.received + std::min(wait, kLongestRetry);
    return;
  }
  known_us_ = answer.clock_us + *answer.next_us;
  // The database counted from some moment between question and answer; the middle is the best guess, and a look that
  // comes a little early only asks again. Times past a year are cut: the sweep asks again long before.
  const microseconds ahead{std::min<std::int64_t>(*answer.next_us, microseconds{std::chrono::hours{24 * 365}}.count())};
  look_at_ = answer.sent + (answer.received - answer.sent) / 2 + ahead;
}

bool Deadlines::hinted(std::optional<std::int64_t> expires_us) const {
  return !known_us_ || !expires_us || *expires_us < *known_us_;
}

namespace {

// Reads exactly `width` digits at `at`.
std::optional<int> digits(std::string_view text, std::size_t at, std::size_t width) {
  if (at + width > text.size()) return std::nullopt;
  int value = 0;
  const char* const first = text.data() + at;
  const auto [end, failure] = std::from_chars(first, first + width, value);
  if (failure != std::errc{} || end != first + width || *first == '-') return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::int64_t> parse_utc(std::string_view text) {
  for (const std::string_view zone : {"Z", "+00:00", "+00"}) {
    if (!text.ends_with(zone)) continue;
    text.remove_suffix(zone.size());
    const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
    const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
    if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
    if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' ||
        text[16] != ':') {
      return std::nullopt;
    }
    const std::chrono::year_month_day date{std::chrono::year{*year}, std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
    std::int64_t fraction = 0;
    std::string_view rest = text.substr(19);
    if (!rest.empty()) {
      if (rest.front() != '.' || rest.size() < 2 || rest.size() > 7) return std::nullopt;
      rest.remove_prefix(1);
      const auto value = digits(rest, 0, rest.size());
      if (!value) return std::nullopt;
      fraction = *value;
      for (std::size_t width = rest.size(); width < 6; ++width) fraction *= 10;
    }
    const std::chrono::sys_time<microseconds> when = std::chrono::sys_days{date} + std::chrono::hours{*hour} +
                                                     std::chrono::minutes{*minute} + std::chrono::seconds{*second} +
                                                     microseconds{fraction};
    return when.time_since_epoch().count();
  }
  return std::nullopt;
}

Hint read_hint(std::string_view payload) {
  Hint hint;
  const auto json = parse_json(payload, "payload", {.bytes = 8u << 10, .depth = 4});
  if (!json || !json->is_object()) return hint;
  if (const auto id = json->find("timer_id"); id != json->end() && id->is_string()) {
    const auto& text = id->get_ref<const std::string&>();
    const auto colon = text.find(':');
    if (colon != std::string::npos) hint.kind = text.substr(0, colon);
  }
  if (const auto at = json->find("expires_at"); at != json->end() && at->is_string()) {
    hint.expires_us = parse_utc(at->get_ref<const std::string&>());
  }
  return hint;
}

}  // namespace romancy::timer
