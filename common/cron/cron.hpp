// cron: when a schedule ticks. Pure: no clock, no I/O, but for the host's time zones (/usr/share/zoneinfo), which are read
// once.
//
// Ticks is one schedule's sequence of moments, in whole seconds:
//   every N seconds   the multiples of N since 1970-01-01T00:00:00Z, whatever the zone
//   cron, in a zone   "minute hour day-of-month month day-of-week", as Vixie's cron reads them: lists, ranges, steps, names
//                     of months and days, 0 and 7 for Sunday, @hourly .. @yearly. When both days are given (neither
//                     begins with '*') a day matches that matches either.
//
// When the clocks of the zone change, as in Vixie's cron:
//   a cron that names hours     ticks once for each time of day that it names. A time that is skipped ticks once, at the
//                               moment at which the skipped ones are over; one that comes twice ticks the first time.
//   a cron of every hour        follows the time that passes: it ticks whenever the wall clock matches, in a doubled hour
//                               twice, in a skipped one never.
//
// Promise: after(t) > t, and no tick lies between them. A Ticks that could be made always has a next one.
// Failure: what cannot be read is refused with the field's name; sql/engine/schedules.sql (check_cron) refuses the same. A
//          zone that this host does not have, or whose future it does not know, is refused.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/base/result.hpp"

namespace romancy::cron {

using Moment = std::chrono::sys_seconds;

// What a cron says, as sets of bits.
struct Fields {
  std::uint64_t minutes = 0;
  std::uint32_t hours = 0, days = 0, months = 0, weekdays = 0;  // days 1-31, months 1-12, weekdays 0-6
  bool either_day = false;                                      // a day matches that matches days or weekdays

  [[nodiscard]] bool every_hour() const { return hours == (1u << 24) - 1; }
  [[nodiscard]] bool on(std::chrono::year_month_day day) const;
};
Result<Fields> parse(std::string_view cron);

class Ticks {
 public:
  static Result<Ticks> of_cron(std::string_view cron, const std::string& zone);
  static Result<Ticks> of_every(std::chrono::seconds every);

  [[nodiscard]] Moment after(Moment moment) const;
  // "2026-03-29 03:00:00 CEST", in the zone (UTC when there is none).
  [[nodiscard]] std::string local(Moment moment) const;

 private:
  struct Cron {
    Fields fields;
    const void* zone;  // a date::time_zone: they live as long as the process
  };
  explicit Ticks(std::variant<Cron, std::chrono::seconds> rule) : rule_(rule) {}
  static Moment next(const Cron& cron, Moment moment);

  std::variant<Cron, std::chrono::seconds> rule_;
};

// "2026-01-02T03:04:05Z"
std::string utc(Moment moment);
std::optional<Moment> parse_utc(const std::string& text);

}  // namespace romancy::cron
