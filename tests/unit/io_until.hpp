// run_until: turns the loop until a fact holds. The guard is against hanging, it asserts nothing about speed.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <functional>

#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"

namespace romancy::io {

inline void run_until(Loop& loop, const std::function<bool()>& fact,
                      std::chrono::seconds guard = std::chrono::seconds{60}) {
  const auto end = std::chrono::steady_clock::now() + guard;
  bool held = false;
  std::unique_ptr<Alarm> look;
  look = std::make_unique<Alarm>(loop, [&] {
    held = fact();
    if (held || std::chrono::steady_clock::now() > end) return loop.stop();
    look->set_in(std::chrono::microseconds{500});
  });
  look->set_in({});
  loop.run();
  ASSERT_TRUE(held) << "the fact did not come true";
}

}  // namespace romancy::io
