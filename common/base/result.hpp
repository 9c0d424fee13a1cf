// Result and Error: how everything inside romancyd reports failure.
//
// An Error is one of three kinds, because the caller can only do one of three things about it:
//   retry   the world was not ready (connection lost, serialization failure): try the same thing again;
//   refuse  the input was wrong: say so, naming it; trying again cannot help;
//   bug     an invariant of ours is broken: log and stop, the supervisor starts the process again.
// The text says what was tried, on what, and what the other side answered. Context is added on the way up
// with within(), and the error is logged once, where it is decided what to do about it.
#pragma once
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace romancy {

enum class ErrorKind { retry, refuse, bug };

struct Error {
  ErrorKind kind = ErrorKind::bug;
  std::string text;
  std::string sqlstate;  // five characters when PostgreSQL said it, else empty

  // The same error, said from further away: "what: text".
  [[nodiscard]] Error within(std::string_view what) && {
    text.insert(0, std::string(what) + ": ");
    return std::move(*this);
  }
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> try_again(std::string text, std::string sqlstate = {}) {
  return tl::unexpected(Error{ErrorKind::retry, std::move(text), std::move(sqlstate)});
}
inline tl::unexpected<Error> refuse(std::string text, std::string sqlstate = {}) {
  return tl::unexpected(Error{ErrorKind::refuse, std::move(text), std::move(sqlstate)});
}
inline tl::unexpected<Error> bug(std::string text) {
  return tl::unexpected(Error{ErrorKind::bug, std::move(text), {}});
}

}  // namespace romancy
