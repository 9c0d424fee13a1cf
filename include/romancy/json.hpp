// json: how values of the user's types become JSON text and back, with nlohmann's own to_json and from_json.
//
// A value is checked where it is produced, because later it would fail far away (one NUL character fails a whole
// transaction in PostgreSQL): NaN and infinity, invalid UTF-8, NUL characters, nesting beyond kMaxJsonDepth and text
// beyond kMaxJsonBytes are refused by BadData, which names the field. A number that does not fit into the integer
// field it is read into is refused too; nlohmann alone would cut it silently.
//
// The library below is given text only, so it need not be built with the same nlohmann_json as the program.
// Define JSON_DIAGNOSTICS=1 (the CMake target does) to have nlohmann name the field in its messages.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 with -O2 and JSON_DIAGNOSTICS: it warns of members of nlohmann's union that it knows are not in use.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds"
#include <nlohmann/json.hpp>
#pragma GCC diagnostic pop
#else
#include <nlohmann/json.hpp>
#endif

#include <romancy/error.hpp>

namespace romancy {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxJsonBytes = 16u << 20;
inline constexpr int kMaxJsonDepth = 64;

namespace detail {

template <class T>
concept ToJson = std::same_as<T, Json> ||
                 requires(Json& j, const T& value) { nlohmann::adl_serializer<T>::to_json(j, value); };
template <class T>
concept FromJson = std::same_as<T, Json> ||
                   requires(const Json& j, T& value) { nlohmann::adl_serializer<T>::from_json(j, value); } ||
                   requires(const Json& j) { { nlohmann::adl_serializer<T>::from_json(j) } -> std::same_as<T>; };

// Nothing, or what is wrong with a string that shall be stored: invalid UTF-8, a NUL character.
const char* string_problem(std::string_view text) noexcept;
// Throws BadData when the text is longer or deeper than the limits. `what` begins the message.
void check_text(std::string_view text, std::string_view what);
[[noreturn]] void refuse_data(std::string_view what, const std::string& where, std::string_view why);

struct Step {  // the way from the root to a value, on the stack, so that it costs nothing until there is an error
  const Step* above = nullptr;
  const std::string* key = nullptr;
  std::size_t index = 0;
  int depth = 0;

  [[nodiscard]] std::string pointer() const {
    if (above == nullptr) return {};
    return above->pointer() + "/" + (key != nullptr ? *key : std::to_string(index));
  }
};

inline void check_value(const Json& value, std::string_view what, const Step& at) {
  if (at.depth > kMaxJsonDepth) refuse_data(what, at.pointer(), "nested too deep");
  if (value.is_string()) {
    if (const char* why = string_problem(value.get_ref<const std::string&>())) refuse_data(what, at.pointer(), why);
  } else if (value.is_number_float()) {
    const double number = value.get<double>();
    if (!(number - number == 0)) refuse_data(what, at.pointer(), "not a finite number");
  } else if (value.is_binary()) {
    refuse_data(what, at.pointer(), "binary values have no JSON text");
  } else if (value.is_object()) {
    for (const auto& [key, inner] : value.get_ref<const Json::object_t&>()) {
      const Step next{&at, &key, 0, at.depth + 1};
      if (const char* why = string_problem(key)) refuse_data(what, at.pointer(), std::string("a key: ") + why);
      check_value(inner, what, next);
    }
  } else if (value.is_array()) {
    std::size_t index = 0;
    for (const auto& inner : value) check_value(inner, what, {&at, nullptr, index++, at.depth + 1});
  }
}

inline bool negative(const Json& number) { return !number.is_number_unsigned() && number.get<std::int64_t>() < 0; }

// `read` is what the user's type makes of `given` when written again. An integer that comes back as another number,
// equal in its lower bits, was cut; a float that became an integer lost its fraction. Fields that come back as
// something else altogether are the business of the user's conversions.
inline void check_fit(const Json& given, const Json& read, std::string_view what, const Step& at) {
  if (given.is_object() && read.is_object()) {
    for (const auto& [key, inner] : given.get_ref<const Json::object_t&>()) {
      const auto found = read.find(key);
      if (found != read.end()) check_fit(inner, *found, what, {&at, &key, 0, at.depth + 1});
    }
  } else if (given.is_array() && read.is_array() && given.size() == read.size()) {
    for (std::size_t i = 0; i < given.size(); ++i) check_fit(given[i], read[i], what, {&at, nullptr, i, at.depth + 1});
  } else if (given.is_number() && read.is_number_integer()) {
    // (nlohmann compares -1 and 2^64-1 as equal.)
    if (given == read && (given.is_number_float() || negative(given) == negative(read))) return;
    if (given.is_number_float()) refuse_data(what, at.pointer(), "the number does not fit into an integer");
    const auto bits = given.get<std::uint64_t>() ^ read.get<std::uint64_t>();
    // Elements of a list may come back in another order (a std::set), so there only 32 equal bits count.
    const std::uint64_t same = at.key != nullptr ? 0xff : 0xffffffff;
    if ((bits & same) == 0) refuse_data(what, at.pointer(), "the number does not fit into its field");
  }
}

inline std::string nlohmann_says(const char* text) {
  const std::string_view all(text);
  const auto end = all.find("] ");
  return std::string(all.substr(all.starts_with("[json.exception.") && end != all.npos ? end + 2 : 0));
}

// A template, so that the kind of Json is part of its symbol: with and without diagnostics they are different types.
template <class J = Json>
J parse_text(std::string_view text, std::string_view what) {
  check_text(text, what);
  try {
    return J::parse(text);
  } catch (const typename J::exception& e) {
    refuse_data(what, {}, nlohmann_says(e.what()));
  }
}

template <class T>
T from_json_value(const Json& value, std::string_view what) {
  static_assert(FromJson<T>, "romancy: this type has no from_json; see NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE");
  if constexpr (std::same_as<T, Json>) {
    return value;
  } else if constexpr (FromJson<T>) {
    try {
      T read = value.get<T>();
      if constexpr (ToJson<T>) check_fit(value, Json(read), what, {});
      return read;
    } catch (const Json::exception& e) {
      refuse_data(what, {}, nlohmann_says(e.what()));
    } catch (const BadData&) {
      throw;
    } catch (const std::exception& e) {
      refuse_data(what, {}, e.what());
    }
  }
}

template <class T>
T from_text(std::string_view text, std::string_view what) {
  return from_json_value<T>(parse_text(text, what), what);
}

template <class T>
std::string to_text(const T& value, std::string_view what) {
  static_assert(ToJson<T>, "romancy: this type has no to_json; see NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE");
  if constexpr (ToJson<T>) try {
    std::string text;
    if constexpr (std::same_as<T, Json>) {
      check_value(value, what, {});
      text = value.dump();
    } else {
      const Json made(value);
      check_value(made, what, {});
      text = made.dump();
    }
    if (text.size() > kMaxJsonBytes) refuse_data(what, {}, "longer than " + std::to_string(kMaxJsonBytes) + " bytes");
    return text;
  } catch (const Json::exception& e) {
    refuse_data(what, {}, nlohmann_says(e.what()));
  }
}

}  // namespace detail
}  // namespace romancy
