#include "common/cron/cron.hpp"

#include <date/tz.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <exception>
#include <sstream>
#include <vector>

namespace romancy::cron {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using LocalTime = std::chrono::local_seconds;
using LocalDay = std::chrono::local_days;

// --- the text ------------------------------------------------------------------------------------------------------

struct Field {
  const char* name;
  int low, high;
  std::vector<std::string_view> names;  // of low, low + 1, ..
};
const std::array<Field, 5>& fields() {
  static const std::array<Field, 5> all{{
      {"minute", 0, 59, {}},
      {"hour", 0, 23, {}},
      {"day of month", 1, 31, {}},
      {"month", 1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
      {"day of week", 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
  }};
  return all;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0;;) {
    const auto end = text.find(at, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::vector<std::string_view> words(std::string_view text) {
  auto parts = split(text, ' ');
  std::erase(parts, "");
  return parts;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  if (text.empty() || text.size() > 4 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return {};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

tl::unexpected<Error> wrong(const Field& field, std::string_view item, const std::string& why) {
  return refuse("cron: " + std::string(field.name) + " '" + std::string(item) + "': " + why);
}

Result<int> value(const Field& field, std::string_view item, std::string_view text) {
  const auto named = std::ranges::find(field.names, lower(text));
  if (named != field.names.end()) return field.low + static_cast<int>(named - field.names.begin());
  const auto read = number(text);
  if (!read) return wrong(field, item, "cannot be read");
  if (*read < field.low || *read > field.high) {
    return wrong(field, item, "must be from " + std::to_string(field.low) + " to " + std::to_string(field.high));
  }
  return *read;
}

// One of a list: "*", "7", "1-5", "*/15", "10-50/20".
Result<std::uint64_t> item_bits(const Field& field, std::string_view item) {
  const auto slash = item.find('/');
  const std::string_view range = item.substr(0, slash);
  int first = field.low, last = field.high, step = 1;
  if (range != "*") {
    const auto dash = range.find('-');
    if (slash != std::string_view::npos && dash == std::string_view::npos) {
      return wrong(field, item, "a step needs a range or *");
    }
    const auto from = value(field, item, range.substr(0, dash));
    if (!from) return tl::unexpected(from.error());
    const auto to = dash == std::string_view::npos ? from : value(field, item, range.substr(dash + 1));
    if (!to) return tl::unexpected(to.error());
    if (*to < *from) return wrong(field, item, "the range runs backwards");
    first = *from;
    last = *to;
  }
  if (slash != std::string_view::npos) {
    const auto read = number(item.substr(slash + 1));
    if (!read) return wrong(field, item, "cannot be read");
    if (*read < 1 || *read > field.high) {
      return wrong(field, item, "the step must be from 1 to " + std::to_string(field.high));
    }
    step = *read;
  }
  std::uint64_t bits = 0;
  for (int at = first; at <= last; at += step) bits |= std::uint64_t{1} << at;
  return bits;
}

Result<std::uint64_t> field_bits(const Field& field, std::string_view text) {
  std::uint64_t bits = 0;
  for (const std::string_view item : split(text, ',')) {
    const auto more = item_bits(field, item);
    if (!more) return tl::unexpected(more.error());
    bits |= *more;
  }
  return bits;
}

constexpr bool has(std::uint64_t bits, unsigned at) { return (bits >> at & 1) != 0; }

// Some day that is named exists in some month that is named. (On which weekday it falls changes with the years.)
bool a_day_exists(const Fields& fields) {
  static constexpr std::array<unsigned, 12> kLongest{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (unsigned month = 1; month <= 12; ++month) {
    for (unsigned day = 1; has(fields.months, month) && day <= kLongest[month - 1]; ++day) {
      if (has(fields.days, day)) return true;
    }
  }
  return false;
}

std::string_view macro(std::string_view word) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kMacros{{
      {"@yearly", "0 0 1 1 *"},
      {"@annually", "0 0 1 1 *"},
      {"@monthly", "0 0 1 * *"},
      {"@weekly", "0 0 * * 0"},
      {"@daily", "0 0 * * *"},
      {"@midnight", "0 0 * * *"},
      {"@hourly", "0 * * * *"},
  }};
  const std::string key = lower(word);
  const auto found = std::ranges::find(kMacros, key, [](const auto& entry) { return entry.first; });
  return found == kMacros.end() ? std::string_view() : found->second;
}

// --- the time ------------------------------------------------------------------------------------------------------

std::chrono::year_month_day date_of(LocalDay day) { return std::chrono::year_month_day(day); }

// The first matching minute at or after `from` and before `end`.
std::optional<LocalTime> first_match(const Fields& fields, LocalTime from, LocalTime end) {
  // Rounded up: a zone's offset may have seconds.
  for (LocalTime at = std::chrono::ceil<minutes>(from); at < end;) {
    const LocalDay day = std::chrono::floor<days>(at);
    const auto date = date_of(day);
    if (!has(fields.months, static_cast<unsigned>(date.month()))) {
      at = LocalDay(std::chrono::year_month_day((date.year() / date.month() + std::chrono::months(1)) / 1));
      continue;
    }
    if (!fields.on(date)) {
      at = day + days(1);
      continue;
    }
    const auto hour = static_cast<unsigned>((at - day) / hours(1));
    if (!has(fields.hours, hour)) {
      at = day + hours(hour + 1);
      continue;
    }
    const auto minute = static_cast<unsigned>((at - day) % hours(1) / minutes(1));
    if (has(fields.minutes, minute)) return at;
    at += minutes(1);
  }
  return std::nullopt;
}

LocalTime local_at(Moment moment, seconds offset) { return LocalTime(moment.time_since_epoch() + offset); }
Moment moment_at(LocalTime local, seconds offset) { return Moment(local.time_since_epoch() - offset); }

const date::time_zone& zone_of(const void* zone) { return *static_cast<const date::time_zone*>(zone); }

date::sys_seconds to_date(Moment moment) { return date::sys_seconds(moment.time_since_epoch()); }
Moment from_date(date::sys_seconds moment) { return Moment(moment.time_since_epoch()); }

// A zone's files may hold only what is past and a rule for the rest, which this library does not read: then the last change
// of its clocks would be the last one for ever. Berlin's year 2036 tells.
bool future_is_known() {
  const date::time_zone& berlin = *date::locate_zone("Europe/Berlin");
  const auto offset = [&](date::month month) {
    return berlin.get_info(date::sys_days(date::year(2036) / month / 1)).offset;
  };
  return offset(date::January) == hours(1) && offset(date::July) == hours(2);
}

Result<const void*> find_zone(const std::string& name) {
  // tz reports by throwing; nothing of that leaves this function.
  try {
    if (name != "UTC" && !future_is_known()) {
      return refuse("time_zone: the zone files of this host do not say when clocks will change (zic -b fat makes those that do)");
    }
    return static_cast<const void*>(date::locate_zone(name));
  } catch (const std::exception& error) {
    return refuse("time_zone: " + std::string(error.what()));
  }
}

}  // namespace

bool Fields::on(std::chrono::year_month_day day) const {
  if (!has(months, static_cast<unsigned>(day.month()))) return false;
  const bool of_month = has(days, static_cast<unsigned>(day.day()));
  const bool of_week = has(weekdays, std::chrono::weekday(std::chrono::local_days(day)).c_encoding());
  return either_day ? of_month || of_week : of_month && of_week;
}

Result<Fields> parse(std::string_view cron) {
  auto texts = words(cron);
  if (texts.size() == 1 && texts[0].starts_with('@')) {
    const std::string_view meant = macro(texts[0]);
    if (meant.empty()) return refuse("cron: there is no " + std::string(texts[0]));
    texts = words(meant);
  }
  if (texts.size() != 5) {
    return refuse("cron: must have 5 fields (minute hour day-of-month month day-of-week), has " +
                  std::to_string(texts.size()));
  }
  std::array<std::uint64_t, 5> bits{};
  for (std::size_t i = 0; i < 5; ++i) {
    const auto read = field_bits(fields()[i], texts[i]);
    if (!read) return tl::unexpected(read.error());
    bits[i] = *read;
  }
  const Fields made{.minutes = bits[0],
                    .hours = static_cast<std::uint32_t>(bits[1]),
                    .days = static_cast<std::uint32_t>(bits[2]),
                    .months = static_cast<std::uint32_t>(bits[3]),
                    .weekdays = static_cast<std::uint32_t>((bits[4] | bits[4] >> 7) & 0x7f),
                    .either_day = texts[2].front() != '*' && texts[4].front() != '*'};
  if (!made.either_day && !a_day_exists(made)) return refuse("cron: there is no such day in any year");
  return made;
}

Result<Ticks> Ticks::of_cron(std::string_view cron, const std::string& zone) {
  const auto fields = parse(cron);
  if (!fields) return tl::unexpected(fields.error());
  const auto found = find_zone(zone);
  if (!found) return tl::unexpected(found.error());
  return Ticks(Cron{*fields, *found});
}

Result<Ticks> Ticks::of_every(seconds every) {
  if (every < seconds(1)) return refuse("every: must be 1 second at least");
  return Ticks(every);
}

// Between two changes of its clocks a zone is a fixed distance from UTC: one stretch after the other is searched.
Moment Ticks::next(const Cron& cron, Moment moment) {
  const date::time_zone& zone = zone_of(cron.zone);
  const bool by_name = !cron.fields.every_hour();
  // A leap day that has to be a Sunday comes every 28 years, 40 around a century that has none.
  const Moment horizon = moment + std::chrono::years(60);
  for (Moment at = moment + seconds(1); at < horizon;) {
    const auto stretch = zone.get_info(to_date(at));
    const Moment begin = from_date(stretch.begin), end = std::min(from_date(stretch.end), horizon);
    LocalTime from = local_at(at, stretch.offset);
    if (by_name && begin > Moment(days(-365 * 200))) {
      const seconds before = zone.get_info(stretch.begin - seconds(1)).offset;
      const LocalTime left = local_at(begin, before), entered = local_at(begin, stretch.offset);
      if (entered > left && at == begin && first_match(cron.fields, left, entered)) return begin;
      if (entered < left) from = std::max(from, left);  // what the clocks show again has been
    }
    if (const auto found = first_match(cron.fields, from, local_at(end, stretch.offset))) {
      return moment_at(*found, stretch.offset);
    }
    at = end;
  }
  return horizon;  // unreachable for what parse() lets through
}

Moment Ticks::after(Moment moment) const {
  if (const auto* cron = std::get_if<Cron>(&rule_)) return next(*cron, moment);
  const seconds every = std::get<seconds>(rule_);
  const auto since = moment.time_since_epoch();
  const auto periods = since.count() >= 0 ? since / every : -((-since + every - seconds(1)) / every);
  return Moment((periods + 1) * every);
}

std::string Ticks::local(Moment moment) const {
  const auto* cron = std::get_if<Cron>(&rule_);
  if (cron == nullptr) return date::format("%F %T UTC", to_date(moment));
  return date::format("%F %T %Z", date::make_zoned(&zone_of(cron->zone), to_date(moment)));
}

std::string utc(Moment moment) { return date::format("%FT%TZ", to_date(moment)); }

std::optional<Moment> parse_utc(const std::string& text) {
  std::istringstream in(text);
  date::sys_seconds moment;
  in >> date::parse("%FT%TZ", moment);
  if (in.fail() || in.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
  return from_date(moment);
}

}  // namespace romancy::cron
