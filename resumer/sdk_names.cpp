#include "resumer/sdk_names.hpp"

#include <array>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <chrono>
#include <cstdio>

#include "romancy/json.hpp"

namespace romancy::resumer {
namespace {

constexpr std::size_t kLongestName = 255;

// Our namespace for version 5 UUIDs: random, once.
constexpr boost::uuids::uuid kNamespace{
    {0x6f, 0x1d, 0x0c, 0x5e, 0x3b, 0x7a, 0x4c, 0x86, 0x9e, 0x41, 0x52, 0xc8, 0x0d, 0x97, 0xa3, 0x14}};

boost::uuids::uuid hash(const std::string& instance_id, std::int32_t op, int generation) {
  return boost::uuids::name_generator_sha1(kNamespace)(operation_key(instance_id, op, generation));
}

}  // namespace

std::string name_problem(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kLongestName) return "is longer than 255 bytes";
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return "has a control character";
  }
  if (const char* problem = detail::string_problem(name)) return problem;
  return {};
}

std::string operation_key(const std::string& instance_id, std::int32_t op, int generation) {
  return instance_id + ":" + std::to_string(op) + ":" + std::to_string(generation);
}

std::string operation_uuid(const std::string& instance_id, std::int32_t op, int generation) {
  return boost::uuids::to_string(hash(instance_id, op, generation));
}

std::uint64_t operation_random(const std::string& instance_id, std::int32_t op, int generation) {
  const auto id = hash(instance_id, op, generation);
  std::uint64_t halves[2] = {};
  for (std::size_t i = 0; i < 16; ++i) halves[i / 8] = halves[i / 8] << 8 | id.data[i];
  // Six of the 128 bits are the version; mixing both halves (splitmix64's last steps) spreads the others over them.
  std::uint64_t mixed = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15);
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

std::string utc_time(std::int64_t unix_micros) {
  using namespace std::chrono;
  const sys_time<microseconds> moment{microseconds(unix_micros)};
  const auto day = floor<days>(moment);
  const year_month_day date(day);
  const hh_mm_ss time(moment - day);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()));
  return text.data();
}

std::int64_t micros_of(const std::string& utc_time) {
  using namespace std::chrono;
  int year = 0;
  unsigned month = 0, day = 0;
  long hour = 0, minute = 0, second = 0, micro = 0;
  if (std::sscanf(utc_time.c_str(), "%d-%u-%uT%ld:%ld:%ld.%6ldZ", &year, &month, &day, &hour, &minute, &second, &micro) != 7) return 0;
  const sys_days date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
  return duration_cast<microseconds>(date.time_since_epoch() + hours(hour) + minutes(minute) + seconds(second)).count() + micro;
}

}  // namespace romancy::resumer
