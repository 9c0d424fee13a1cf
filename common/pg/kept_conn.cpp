#include "common/pg/kept_conn.hpp"

#include <utility>

namespace romancy::pg {

// The handlers are copied before the call: a handler may destroy the KeptConn, and with it the function that runs.
KeptConn::KeptConn(io::Loop& loop, ConnOptions options, Backoff backoff, Conn::Handlers handlers)
    : handlers_(std::move(handlers)),
      backoff_(backoff),
      conn_(loop, std::move(options),
            {.on_up =
                 [this] {
                   if (!std::exchange(of_no_use_, false)) backoff_.reset();
                   if (const auto on_up = handlers_.on_up) on_up();
                 },
             .on_down =
                 [this](Error why) {
                   if (wanted_) retry_.set_in(backoff_.next());
                   if (const auto on_down = handlers_.on_down) on_down(std::move(why));
                 },
             .on_notification = handlers_.on_notification}),
      retry_(loop, [this] { conn_.open(); }) {}

void KeptConn::open() {
  if (wanted_) return;
  wanted_ = true;
  conn_.open();
}

void KeptConn::reopen() {
  of_no_use_ = true;
  conn_.close();
}

void KeptConn::close() {
  wanted_ = false;
  retry_.cancel();
  conn_.close();
}

}  // namespace romancy::pg
