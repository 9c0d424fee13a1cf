// coroutine: what Task, Async and the awaitables they take share.
#pragma once
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace romancy::detail {

// True where a temporary of T in a co_await expression does not compile, because g++ 12 would free its members twice
// (mended in 13; clang is right). Strings are no such case: they are no aggregates.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
template <class T>
inline constexpr bool kMustBeNamed =
    std::is_class_v<T> && !std::is_trivially_destructible_v<T> && !std::is_same_v<T, std::string>;
#else
template <class T>
inline constexpr bool kMustBeNamed = false;
#endif

// The half of a promise that keeps the result. Base has `std::exception_ptr error`.
template <class T, class Base>
struct ResultPromise : Base {
  std::optional<T> value{};
  template <class U>
    requires std::is_convertible_v<U&&, T>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    if (this->error) std::rethrow_exception(this->error);
    return std::move(*value);
  }
};

template <class Base>
struct ResultPromise<void, Base> : Base {
  void return_void() const noexcept {}
  void take() const {
    if (this->error) std::rethrow_exception(this->error);
  }
};

}  // namespace romancy::detail
