#include "listener/queue_fill.hpp"

namespace romancy::listener {
namespace {

constexpr double kHigh = 0.10, kCritical = 0.50;
constexpr double kDown = 0.8;  // of a mark

}  // namespace

QueueFill queue_fill(QueueFill was, double usage) {
  const double critical = was == QueueFill::critical ? kCritical * kDown : kCritical;
  const double high = was == QueueFill::low ? kHigh : kHigh * kDown;
  if (usage >= critical) return QueueFill::critical;
  return usage >= high ? QueueFill::high : QueueFill::low;
}

}  // namespace romancy::listener
