// The parts of the public headers that need not be in headers: text checks, errors as text, retry policy, one attempt.
#include <cxxabi.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <typeinfo>

#include "romancy/activity.hpp"
#include "romancy/async.hpp"
#include "romancy/bytes.hpp"
#include "romancy/error.hpp"
#include "romancy/json.hpp"
#include "romancy/retry.hpp"
#include "romancy/transaction.hpp"

namespace romancy {
namespace detail {
namespace {

constexpr std::size_t kLongestMessage = 8192;

// The length of the valid UTF-8 sequence at the front, 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first < 0xe0   ? 2
                             : (first & 0xf0) == 0xe0        ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  if (length == 0 || text.size() < length) return 0;
  unsigned code = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  if (length == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000)))
    return 0;  // overlong, or half of a surrogate pair
  if (length == 4 && (code < 0x10000 || code > 0x10ffff)) return 0;
  return length;
}

std::string storable(std::string_view text) {
  std::string clean;
  for (std::size_t i = 0; i < text.size() && clean.size() < kLongestMessage;) {
    const auto length = text[i] == '\0' ? 0 : utf8_length(text.substr(i));
    if (length == 0) {
      clean += "\xef\xbf\xbd";  // U+FFFD
    } else {
      clean.append(text, i, length);
    }
    i += std::max<std::size_t>(length, 1);
  }
  return clean;
}

std::string current_type() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "unknown";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 ? name.get() : type->name();
}

}  // namespace

const char* string_problem(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] > 0) {  // most of most texts
      ++i;
      continue;
    }
    if (text[i] == '\0') return "has a NUL character";
    const auto length = utf8_length(text.substr(i));
    if (length == 0) return "is not valid UTF-8";
    i += length;
  }
  return nullptr;
}

void refuse_data(std::string_view what, const std::string& where, std::string_view why) {
  std::string text(what);
  text += ": ";
  if (!where.empty()) text += where + ": ";
  text += why;
  throw BadData(storable(text));
}

void check_text(std::string_view text, std::string_view what) {
  if (text.size() > kMaxJsonBytes) refuse_data(what, {}, "longer than " + std::to_string(kMaxJsonBytes) + " bytes");
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth)
        refuse_data(what, {}, "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

bool sql_wants_another(std::string_view sqlstate) { return sqlstate == "40001" || sqlstate == "40P01"; }

ErrorText current_error() noexcept {
  try {
    throw;
  } catch (const TerminalError& e) {
    return {storable(e.type()), storable(e.what()), true, false};
  } catch (const BadData& e) {
    return {"BadData", storable(e.what()), true, false};  // the same value will be refused again
  } catch (const ActivityError& e) {
    return {"ActivityError", storable(e.what()), false, false};
  } catch (const ChannelModeConflict& e) {
    return {"ChannelModeConflict", storable(e.what()), false, false};
  } catch (const TimedOut& e) {
    return {"TimedOut", storable(e.what()), false, false};
  } catch (const SqlError& e) {
    return {"SqlError", storable(e.what()), false, sql_wants_another(e.sqlstate())};
  } catch (const CompletionFailed& e) {
    return {storable(e.type()), storable(e.what()), false, false};
  } catch (const Stopped&) {
    return {"Stopped", "the attempt was asked to stop", false, false};
  } catch (const std::exception& e) {
    return {storable(current_type()), storable(e.what()), false, false};
  } catch (...) {
    return {storable(current_type()), "an exception that is not a std::exception", false, false};
  }
}

std::string to_base64(const std::vector<std::byte>& bytes) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = three << 8 | (k < have ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) text += k <= have ? kDigits[three >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::vector<std::byte> from_base64(std::string_view text) {
  const auto value = [](char c) -> std::uint32_t {
    if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a' + 26);
    if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0' + 52);
    if (c == '+') return 62;
    if (c == '/') return 63;
    throw std::invalid_argument("$binary: has a character that is not base64");
  };
  if (text.size() % 4 != 0) throw std::invalid_argument("$binary: is not base64: its length is no multiple of four");
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const std::size_t padding = i + 4 < text.size() ? 0 : text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 4; ++k) three = three << 6 | (k < 4 - padding ? value(text[i + k]) : 0);
    for (std::size_t k = 0; k < 3 - padding; ++k) bytes.push_back(static_cast<std::byte>(three >> (16 - 8 * k) & 0xff));
  }
  return bytes;
}

AttemptResult failed_attempt() noexcept {
  auto error = current_error();
  AttemptResult result;
  result.error_type = std::move(error.type);
  result.error_message = std::move(error.message);
  result.terminal = error.terminal;
  result.retryable = error.retryable;
  return result;
}

std::string retry_problem(const RetryPolicy& policy) {
  using namespace std::chrono_literals;
  const auto range = [](const char* field, const std::string& value, const char* allowed) {
    return std::string("retry.") + field + ": " + value + " is not in " + allowed;
  };
  constexpr std::chrono::milliseconds kYear = 24h * 366;
  if (policy.attempts < 0 || policy.attempts > 1'000'000) {
    return range("attempts", std::to_string(policy.attempts), "0 .. 1000000 (0: for ever)");
  }
  if (policy.first_interval < 1ms || policy.first_interval > kYear) {
    return range("first_interval", std::to_string(policy.first_interval.count()) + " ms", "1 ms .. 366 days");
  }
  if (policy.max_interval < policy.first_interval || policy.max_interval > kYear) {
    return range("max_interval", std::to_string(policy.max_interval.count()) + " ms", "first_interval .. 366 days");
  }
  if (!(policy.coefficient >= 1 && policy.coefficient <= 1000)) {
    return range("coefficient", std::to_string(policy.coefficient), "1 .. 1000");
  }
  if (!(policy.jitter >= 0 && policy.jitter <= 1)) return range("jitter", std::to_string(policy.jitter), "0 .. 1");
  if (policy.max_duration < 0ms || policy.max_duration > kYear) {
    return range("max_duration", std::to_string(policy.max_duration.count()) + " ms", "0 ms .. 366 days (0: no limit)");
  }
  for (std::size_t i = 0; i < policy.non_retryable.size(); ++i) {
    if (policy.non_retryable[i].empty()) return "retry.non_retryable: entry " + std::to_string(i + 1) + " is empty";
  }
  return {};
}

std::string options_problem(const ActivityOptions& options) {
  using namespace std::chrono_literals;
  if (options.timeout < 0ms || options.timeout > 24h * 366) {
    return "timeout: " + std::to_string(options.timeout.count()) + " ms is not in 0 ms .. 366 days (0: none)";
  }
  if (options.heartbeat_timeout < 1ms || options.heartbeat_timeout > 24h * 366) {
    return "heartbeat_timeout: " + std::to_string(options.heartbeat_timeout.count()) + " ms is not in 1 ms .. 366 days";
  }
  return retry_problem(options.retry);
}

std::chrono::milliseconds retry_delay(const RetryPolicy& policy, int attempt, const std::string& key) {
  const double longest = static_cast<double>(policy.max_interval.count());
  const double full = std::min(longest, static_cast<double>(policy.first_interval.count()) *
                                            std::pow(policy.coefficient, std::max(attempt, 1) - 1));
  // FNV-1a of key and attempt: any spread will do, but it must be the same everywhere and for ever.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : key + "#" + std::to_string(attempt)) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  hash ^= hash >> 32;  // the low bits are the better ones
  const double part = static_cast<double>(hash & 0xffffff) / 0x1000000;
  return std::chrono::milliseconds(
      std::max<std::int64_t>(1, static_cast<std::int64_t>(full * (1 - policy.jitter * part))));
}

std::optional<std::chrono::milliseconds> next_attempt(const RetryPolicy& policy, const FailedAttempt& failed,
                                                      const std::string& key) {
  if (failed.terminal || (policy.attempts != 0 && failed.number >= policy.attempts)) return std::nullopt;
  const auto& kinds = policy.non_retryable;
  if (!failed.retryable && std::find(kinds.begin(), kinds.end(), failed.type) != kinds.end()) return std::nullopt;
  const auto pause = retry_delay(policy, failed.number, key);
  if (policy.max_duration.count() != 0 && failed.since_first + pause > policy.max_duration) return std::nullopt;
  return pause;
}

}  // namespace detail

AttemptResult ActivityRef::run(Attempt& attempt, const std::string& input) const noexcept {
  AttemptResult result;
  try {
    if (definition_->kind() != detail::ActivityKind::blocking) {
      throw TerminalError("activity '" + name() + "' is not a blocking one", "WrongKind");
    }
    result.data = static_cast<const detail::BlockingDefinition&>(*definition_).call(attempt, input);
    result.ok = true;
  } catch (...) {
    result = detail::failed_attempt();
  }
  return result;
}

void AsyncAttempt::check(const detail::AsyncWait& wait) {
  if (wait.stopped) throw Stopped{};
  if (wait.fd_error != 0) {
    throw std::system_error(wait.fd_error, std::generic_category(), "descriptor " + std::to_string(wait.fd));
  }
}

std::size_t Rows::column(std::string_view name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) throw BadData("no column '" + std::string(name) + "' in the answer");
  return static_cast<std::size_t>(found - names_.begin());
}

const Rows::Value& Rows::value(std::size_t row, std::size_t column) const {
  if (row >= size() || column >= names_.size()) {
    throw BadData("row " + std::to_string(row) + ", column " + std::to_string(column) + ": the answer has " +
                  std::to_string(size()) + " rows of " + std::to_string(names_.size()));
  }
  return values_[row * names_.size() + column];
}

void Rows::misread(std::size_t row, std::size_t column, std::string_view what) const {
  throw BadData("column " + names_[column] + ", row " + std::to_string(row) + ": " + std::string(what));
}

}  // namespace romancy
