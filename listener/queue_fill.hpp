// queue_fill: how full PostgreSQL's one notification queue is, as something to say once. Pure.
//
// The queue (8 GB, one for the whole cluster) keeps what the slowest LISTENing session has not taken: one that stands in
// a transaction, or whose client does not read. When it is full, every transaction that notifies fails at its COMMIT,
// whoever's it is.
#pragma once

namespace romancy::listener {

enum class QueueFill {
  low,
  high,      // from 10 %: somebody looks tomorrow
  critical,  // from 50 %: somebody looks now; PostgreSQL itself warns from here on
};

// What it is with `usage` (0 to 1) after it was `was`. Down only well below the mark that led up, so that a usage that
// wavers about a mark is told of once.
QueueFill queue_fill(QueueFill was, double usage);

}  // namespace romancy::listener
