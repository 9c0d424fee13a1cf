#include <gtest/gtest.h>

#include <array>
#include <ostream>

#include "listener/session_step.hpp"

namespace romancy::listener {

static void PrintTo(const SessionTransition& t, std::ostream* out) {
  *out << name_of(t.to) << "/" << static_cast<int>(t.effect);
}

namespace {

using enum SessionState;
using S = SessionState;
using E = SessionEvent;
using F = SessionEffect;

constexpr std::array kStates{Stopped, Connecting, Subscribing, Live, Backoff};
constexpr std::array kEvents{E::StartAsked, E::StopAsked, E::Up,   E::Listening, E::Proved,
                             E::Hint,       E::Failed,    E::Down, E::Overdue,   E::Due};

struct Pair {
  S to;
  F effect;
};

// Every state against every event, written down a second time. Columns: as kEvents.
// clang-format off
constexpr Pair kTable[kStates.size()][kEvents.size()] = {
    // Stopped
    {{Connecting, F::connect}, {Stopped, F::none}, {Stopped, F::none}, {Stopped, F::none}, {Stopped, F::none},
     {Stopped, F::none}, {Stopped, F::none}, {Stopped, F::none}, {Stopped, F::none}, {Stopped, F::none}},
    // Connecting
    {{Connecting, F::none}, {Stopped, F::close}, {Subscribing, F::listen}, {Connecting, F::abort},
     {Connecting, F::abort}, {Connecting, F::abort}, {Connecting, F::abort}, {Backoff, F::give_up},
     {Connecting, F::abort}, {Connecting, F::abort}},
    // Subscribing
    {{Subscribing, F::none}, {Stopped, F::close}, {Subscribing, F::abort}, {Subscribing, F::prove},
     {Live, F::announce}, {Subscribing, F::none}, {Backoff, F::give_up}, {Backoff, F::give_up},
     {Backoff, F::give_up}, {Subscribing, F::abort}},
    // Live
    {{Live, F::none}, {Stopped, F::close}, {Live, F::abort}, {Live, F::abort}, {Live, F::rest},
     {Live, F::deliver}, {Backoff, F::give_up}, {Backoff, F::give_up}, {Backoff, F::give_up}, {Live, F::prove}},
    // Backoff
    {{Backoff, F::none}, {Stopped, F::close}, {Backoff, F::none}, {Backoff, F::none}, {Backoff, F::none},
     {Backoff, F::none}, {Backoff, F::none}, {Backoff, F::none}, {Backoff, F::none}, {Connecting, F::connect}},
};
// clang-format on

TEST(Session, EveryStateAnswersEveryEventAsTheTableSays) {
  for (std::size_t s = 0; s < kStates.size(); ++s) {
    for (std::size_t e = 0; e < kEvents.size(); ++e) {
      const SessionTransition expected{kTable[s][e].to, kTable[s][e].effect};
      EXPECT_EQ(step(kStates[s], kEvents[e]), expected) << name_of(kStates[s]) << ", event " << e;
    }
  }
}

TEST(Session, OnlyAProofMakesItLive) {
  for (const S state : kStates) {
    for (const E event : kEvents) {
      if (state == Live || step(state, event).to != Live) continue;
      EXPECT_EQ(state, Subscribing);
      EXPECT_EQ(event, E::Proved);
      EXPECT_EQ(step(state, event).effect, F::announce);
    }
  }
}

TEST(Session, GapIsReportedBeforeFirstHintAfterReconnect) {
  // Hints are delivered in Live only, and Live is entered only with announce.
  for (const S state : kStates) {
    EXPECT_EQ(step(state, E::Hint).effect == F::deliver, state == Live);
  }
}

TEST(Session, WhateverIsLostLeadsBackToConnectingThroughBackoff) {
  for (const S state : {Connecting, Subscribing, Live}) {
    const auto lost = step(state, E::Down);
    EXPECT_EQ(lost.to, Backoff);
    EXPECT_EQ(lost.effect, F::give_up);
    EXPECT_EQ(step(lost.to, E::Due), (SessionTransition{Connecting, F::connect}));
  }
}

}  // namespace
}  // namespace romancy::listener
