// signature: the parameter and result types of a callable, so that a wrong one gives one readable message.
#pragma once
#include <tuple>
#include <type_traits>

namespace romancy::detail {

template <class R, bool Mutable, class... Args>
struct SignatureIs {
  using Result = R;
  using Params = std::tuple<Args...>;
  static constexpr bool kKnown = true;
  static constexpr bool kMutable = Mutable;  // a lambda marked mutable
};

template <class F>
struct CallOperator {
  static constexpr bool kKnown = false;
};
template <class R, class C, class... A>
struct CallOperator<R (C::*)(A...) const> : SignatureIs<R, false, A...> {};
template <class R, class C, class... A>
struct CallOperator<R (C::*)(A...) const noexcept> : SignatureIs<R, false, A...> {};
template <class R, class C, class... A>
struct CallOperator<R (C::*)(A...)> : SignatureIs<R, true, A...> {};
template <class R, class C, class... A>
struct CallOperator<R (C::*)(A...) noexcept> : SignatureIs<R, true, A...> {};

template <class F>
struct Signature {
  static constexpr bool kKnown = false;  // a generic lambda, or no function at all
};
template <class F>
  requires requires { &F::operator(); }
struct Signature<F> : CallOperator<decltype(&F::operator())> {};
template <class R, class... A>
struct Signature<R (*)(A...)> : SignatureIs<R, false, A...> {};
template <class R, class... A>
struct Signature<R (*)(A...) noexcept> : SignatureIs<R, false, A...> {};

// The second parameter, or void.
template <class Params>
struct InputOf {
  using Type = void;
};
template <class First, class Second, class... Rest>
struct InputOf<std::tuple<First, Second, Rest...>> {
  using Type = Second;
};

template <class Params>
struct FirstOf {
  using Type = void;
};
template <class First, class... Rest>
struct FirstOf<std::tuple<First, Rest...>> {
  using Type = First;
};

// What is wrong with a function that is to become a workflow or an activity: the first thing found. One value, so that one
// static_assert speaks, and nothing behind it is instantiated.
enum class Wrong { nothing, unknown, is_mutable, result, parameters, reference, input, output };

}  // namespace romancy::detail
