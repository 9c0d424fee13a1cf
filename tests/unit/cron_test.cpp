// When schedules tick: what a cron means, in zones whose clocks change, against tables and against a look at every minute.
#include "common/cron/cron.hpp"

#include <date/tz.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace romancy::test {
namespace {

using cron::Moment;
using cron::Ticks;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

Moment at(const std::string& text) {
  std::istringstream in(text);
  date::sys_seconds moment;
  in >> date::parse("%FT%TZ", moment);
  EXPECT_FALSE(in.fail()) << text;
  return Moment(moment.time_since_epoch());
}

Ticks ticks(const std::string& text, const std::string& zone) {
  const auto made = Ticks::of_cron(text, zone);
  if (!made) throw std::runtime_error(made.error().text);
  return *made;
}

struct Sequence {
  std::string cron, zone, from;
  std::vector<std::string> utc;
};
std::ostream& operator<<(std::ostream& out, const Sequence& s) { return out << s.cron << " in " << s.zone; }

class CronTable : public testing::TestWithParam<Sequence> {};

TEST_P(CronTable, TicksAt) {
  const auto rule = ticks(GetParam().cron, GetParam().zone);
  Moment moment = at(GetParam().from);
  for (const std::string& expected : GetParam().utc) {
    moment = rule.after(moment);
    EXPECT_EQ(cron::utc(moment), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Calendar, CronTable, testing::Values(
    Sequence{"*/15 * * * *", "UTC", "2026-01-01T00:00:00Z", {"2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"}},
    Sequence{"* * * * *", "UTC", "2026-01-01T00:00:59Z", {"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}},
    Sequence{"0 9-17/4 * * mon-FRI", "UTC", "2026-01-02T13:00:00Z", {"2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"}},
    Sequence{"5,10-12 0 * * *", "UTC", "2026-01-01T00:05:00Z",
             {"2026-01-01T00:10:00Z", "2026-01-01T00:11:00Z", "2026-01-01T00:12:00Z", "2026-01-02T00:05:00Z"}},
    Sequence{"0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", {"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}},
    Sequence{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", {"2104-02-29T00:00:00Z"}},
    Sequence{"0 0 29 2 */7", "UTC", "2026-01-01T00:00:00Z", {"2032-02-29T00:00:00Z", "2060-02-29T00:00:00Z"}},
    Sequence{"0 0 13 * 5", "UTC", "2026-02-01T00:00:00Z", {"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
    Sequence{"0 0 1 3 MON", "UTC", "2026-02-24T00:00:00Z", {"2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"}},
    Sequence{"0 0 */10 * 1", "UTC", "2026-01-01T00:00:00Z", {"2026-05-11T00:00:00Z", "2026-06-01T00:00:00Z"}},
    Sequence{"0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"}},
    Sequence{"0 0 * * 5-7", "UTC", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z", "2026-01-09T00:00:00Z"}},
    Sequence{"@yearly", "UTC", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00Z"}},
    Sequence{"@Monthly", "UTC", "2026-01-01T00:00:00Z", {"2026-02-01T00:00:00Z"}},
    Sequence{"@weekly", "UTC", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00Z"}},
    Sequence{"@daily", "Asia/Kolkata", "2026-01-01T00:00:00Z", {"2026-01-01T18:30:00Z", "2026-01-02T18:30:00Z"}},
    Sequence{" @hourly ", "Asia/Kolkata", "2026-01-01T00:00:00Z", {"2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"}},
    Sequence{"59 23 31 12 *", "UTC", "1969-12-31T23:58:00Z", {"1969-12-31T23:59:00Z", "1970-12-31T23:59:00Z"}}));

// 2026: Berlin 29 March 02:00 -> 03:00 (01:00Z), 25 October 03:00 -> 02:00 (01:00Z). New York 8 March 02:00 -> 03:00 (07:00Z),
// 1 November 02:00 -> 01:00 (06:00Z). Lord Howe 4 October 02:00 -> 02:30, 5 April 02:00 -> 01:30 (15:00Z the day before).
INSTANTIATE_TEST_SUITE_P(ClocksThatChange, CronTable, testing::Values(
    // skipped: once, when the skipped hour is over; and not again as the time that it then is
    Sequence{"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", {"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
    Sequence{"0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
    Sequence{"0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T01:00:00Z"}},
    Sequence{"30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", {"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"}},
    Sequence{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
    Sequence{"0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", {"2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"}},
    // doubled: the first time
    Sequence{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
    Sequence{"0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", {"2026-10-25T02:00:00Z"}},
    Sequence{"*/30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z",
             {"2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:00:00Z"}},
    Sequence{"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", {"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
    Sequence{"30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", {"2026-10-26T01:30:00Z"}},
    // of every hour: as time passes
    Sequence{"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", {"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"}},
    Sequence{"30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", {"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
    Sequence{"0 0-23 * * *", "Australia/Lord_Howe", "2026-10-03T14:30:00Z", {"2026-10-03T16:00:00Z", "2026-10-03T17:00:00Z"}}));

TEST(Cron, WhatCannotBeReadIsRefusedWithItsFieldsName) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"60 * * * *", "cron: minute '60': must be from 0 to 59"},
      {"* 24 * * *", "cron: hour '24': must be from 0 to 23"},
      {"* * 0 * *", "cron: day of month '0': must be from 1 to 31"},
      {"* * * 13 *", "cron: month '13': must be from 1 to 12"},
      {"* * * * 8", "cron: day of week '8': must be from 0 to 7"},
      {"* * * * sat-sun", "cron: day of week 'sat-sun': the range runs backwards"},
      {"5/15 * * * *", "cron: minute '5/15': a step needs a range or *"},
      {"*/0 * * * *", "cron: minute '*/0': the step must be from 1 to 59"},
      {"*/60 * * * *", "cron: minute '*/60': the step must be from 1 to 59"},
      {"1,, * * * *", "cron: minute '': cannot be read"},
      {"1- * * * *", "cron: minute '1-': cannot be read"},
      {"-1 * * * *", "cron: minute '-1': cannot be read"},
      {"** * * * *", "cron: minute '**': cannot be read"},
      {"* * L * *", "cron: day of month 'L': cannot be read"},
      {"mon * * * *", "cron: minute 'mon': cannot be read"},
      {"99999999999 * * * *", "cron: minute '99999999999': cannot be read"},
      {"* * * *", "must have 5 fields"},
      {"* * * * * *", "must have 5 fields"},
      {"", "must have 5 fields"},
      {"@reboot", "cron: there is no @reboot"},
      {"0 0 30 2 *", "cron: there is no such day in any year"},
      {"0 0 31 2,4,6,9,11 *", "cron: there is no such day in any year"}};
  for (const auto& [text, why] : cases) {
    const auto read = cron::parse(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().text, HasSubstr(why)) << text;
  }
  EXPECT_THAT(Ticks::of_cron("@daily", "Europe/Nowhere").error().text, HasSubstr("time_zone: "));
  EXPECT_THAT(Ticks::of_every(seconds(0)).error().text, HasSubstr("every: "));
  EXPECT_TRUE(cron::parse("0 0 30 2 mon"));  // on Mondays
}

TEST(Cron, AnIntervalTicksAtItsMultiples) {
  const auto rule = *Ticks::of_every(seconds(7));
  for (std::int64_t from = -50; from < 50; ++from) {
    const auto next = rule.after(Moment(seconds(from))).time_since_epoch().count();
    EXPECT_GT(next, from);
    EXPECT_LE(next, from + 7);
    EXPECT_EQ(next % 7, 0);
  }
}

// A cron, and each minute of some days around the changes of the clocks: the rules of cron.hpp, said once more in terms of
// what tz knows of local times, without anything of the search.
TEST(Cron, NoTickIsSkippedOrInventedAgainstALookAtEveryMinute) {
  std::mt19937 random(20260325);  // NOLINT(cert-msc51-cpp): the same in every run
  const auto pick = [&](std::initializer_list<const char*> texts) {
    return std::string(*(texts.begin() + std::uniform_int_distribution<std::size_t>(0, texts.size() - 1)(random)));
  };
  const std::vector<std::pair<std::string, std::string>> places{
      {"Europe/Berlin", "2026-03-28T12:00:00Z"},       {"Europe/Berlin", "2026-10-24T12:00:00Z"},
      {"America/New_York", "2026-03-07T12:00:00Z"},    {"America/New_York", "2026-10-31T12:00:00Z"},
      {"Australia/Lord_Howe", "2026-04-04T00:00:00Z"}, {"Australia/Lord_Howe", "2026-10-03T00:00:00Z"},
      {"Asia/Kolkata", "2026-02-27T12:00:00Z"},        {"America/Santiago", "2026-09-05T12:00:00Z"},
      {"Pacific/Apia", "2011-12-29T12:00:00Z"},        {"UTC", "2028-02-28T12:00:00Z"}};
  for (int round = 0; round < 400; ++round) {
    const auto& [name, from] = places[static_cast<std::size_t>(round) % places.size()];
    const std::string text = pick({"*", "0", "30", "*/7", "15,45", "20-40/5"}) + " " +
                             pick({"*", "0", "1", "2", "1-3", "*/2", "0-23", "0,2,3", "1-23/2"}) + " " +
                             pick({"*", "*", "1", "*/2", "28-31", "25"}) + " * " + pick({"*", "*", "sun", "0,6", "1-5", "*/3"});
    SCOPED_TRACE(text + " in " + name);
    const auto fields = *cron::parse(text);
    const date::time_zone& zone = *date::locate_zone(name);
    const auto matches = [&](date::local_seconds local) {
      const auto day = date::floor<date::days>(local);
      const auto minute = static_cast<unsigned>((local - day) / minutes(1));
      return fields.on(std::chrono::year_month_day(std::chrono::local_days(day.time_since_epoch()))) &&
             (fields.hours >> (minute / 60) & 1) != 0 && (fields.minutes >> (minute % 60) & 1) != 0;
    };
    const auto is_tick = [&](date::sys_seconds minute) {
      const auto local = zone.to_local(minute);
      if (fields.every_hour()) return matches(local);
      const auto here = zone.get_info(local);
      if (matches(local) && (here.result == date::local_info::unique || zone.to_sys(local, date::choose::earliest) == minute)) {
        return true;
      }
      // Minutes before this one that the clocks never showed.
      for (auto skipped = local - minutes(1); zone.get_info(skipped).result == date::local_info::nonexistent;
           skipped -= minutes(1)) {
        if (matches(skipped)) return true;
      }
      return false;
    };

    const auto rule = ticks(text, name);
    const Moment begin = at(from);
    Moment next = rule.after(begin);
    for (Moment minute = begin + minutes(1); minute < begin + hours(72); minute += minutes(1)) {
      ASSERT_GE(next, minute);
      ASSERT_EQ(next == minute, is_tick(date::sys_seconds(minute.time_since_epoch()))) << cron::utc(minute);
      if (next != minute) continue;
      next = rule.after(minute);
      ASSERT_GT(next, minute);
    }
  }
}

TEST(Cron, AMomentIsShownInItsZone) {
  EXPECT_EQ(ticks("@daily", "Europe/Berlin").local(at("2026-03-29T01:00:00Z")), "2026-03-29 03:00:00 CEST");
  EXPECT_EQ(Ticks::of_every(seconds(5))->local(at("2026-03-29T01:00:00Z")), "2026-03-29 01:00:00 UTC");
}

}  // namespace
}  // namespace romancy::test
