// Signals: calls back on the loop when one of the given signals arrives. One object a process and signal.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>

#include "common/io/loop.hpp"

namespace romancy::io {

class Signals {
 public:
  Signals(Loop& loop, std::initializer_list<int> signals, std::function<void(int signal)> on_signal);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::io
