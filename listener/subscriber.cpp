#include "listener/subscriber.hpp"

#include <utility>

#include "common/base/test_point.hpp"

namespace romancy::listener {
namespace {
// Handed to the stream at once, so that a burst leaves in few writes; the rest waits in the queue, where it can still
// be folded and dropped.
constexpr std::size_t kPiece = 64u << 10;
}  // namespace

Subscriber::Subscriber(io::Loop& loop, UniqueFd connected, io::Peer peer, Patience patience, Handlers handlers)
    : loop_(loop),
      peer_(peer),
      patience_(patience),
      handlers_(std::move(handlers)),
      stream_(loop, std::move(connected), io::LineCaps{.max_line = proc::kHubMaxLine, .max_queue = 2 * kPiece},
              {.on_line = [this](std::string_view line) { take(line); },
               .on_close =
                   [this](std::string_view why) { end(stream_.overlong() ? Ending::nonsense : Ending::left, why); },
               .on_drained = [this] { flush(); }}),
      alarm_(loop, [this] { out_of_time(); }) {
  alarm_.set_in(patience_.hello_within);
}

void Subscriber::welcome(proc::Subscription subscription, bool live) {
  subscription_ = std::move(subscription);
  stage_ = Stage::welcomed;
  alarm_.cancel();
  read_at_ = Clock::now();
  say(proc::encode_welcome(live));
  resync(proc::ResyncWhy::connected);
}

void Subscriber::refuse(std::string_view why) {
  say(proc::encode_refused(why));
  end(Ending::refused, why);
}

void Subscriber::state(bool live) {
  if (!welcomed()) return;
  queue_.state(live);
  flush_soon();
}

void Subscriber::resync(proc::ResyncWhy why) {
  if (!welcomed()) return;
  queue_.resync(why);
  flush_soon();
}

void Subscriber::gone(std::int64_t session) {
  if (!welcomed()) return;
  queue_.gone(session);
  flush_soon();
}

void Subscriber::wake(std::string_view line) {
  if (!welcomed()) return;
  last_wake_ = Clock::now();
  if (!queue_.wake(line)) handlers_.on_overflow();
  flush_soon();
}

void Subscriber::take(std::string_view line) {
  switch (stage_) {
    case Stage::greeting: return handlers_.on_hello(line);
    case Stage::welcomed: return end(Ending::nonsense, "spoke after its hello");
    case Stage::ended: return;
  }
}

void Subscriber::end(Ending ending, std::string_view why) {
  if (std::exchange(stage_, Stage::ended) == Stage::ended) return;
  alarm_.cancel();
  stream_.close();
  handlers_.on_end(ending, why);
}

void Subscriber::say(std::string_view line) {
  static_cast<void>(ROMANCY_TEST_POINT("listener.send.before"));
  // Never full: at most one piece and one line stand in it. Closed: on_close is on its way.
  static_cast<void>(stream_.send(line));
  static_cast<void>(ROMANCY_TEST_POINT("listener.send.after"));
}

void Subscriber::flush_soon() {
  if (std::exchange(flush_asked_, true)) return;
  loop_.at_turn_end([this, alive = std::weak_ptr<char>(alive_)] {
    if (alive.expired()) return;
    flush_asked_ = false;
    flush();
  });
}

// The stream writes at the turn's end too, before us, since it was asked before us: what is still in it now waits for
// the peer to read. So this comes once before each piece leaves and once after.
void Subscriber::flush() {
  if (!welcomed()) return;
  watch_it_read();
  if (stream_.queued_bytes() > 0 || queue_.empty()) return;
  while (!queue_.empty() && stream_.queued_bytes() < kPiece) say(queue_.pop());
  flush_soon();
}

// A peer that reads makes either number smaller; what we send makes them larger, but not between two looks of which the
// second stands before the next piece.
void Subscriber::watch_it_read() {
  const std::size_t queued = stream_.queued_bytes();
  const std::size_t unread = stream_.unread();
  const bool nothing = queued == 0 && unread == 0;
  if (nothing || queued < queued_ || unread < unread_) read_at_ = Clock::now();
  queued_ = queued;
  unread_ = unread;
  // One that is set is left alone: it finds out by itself that there was nothing to wait for.
  if (!nothing && !alarm_.armed()) alarm_.set_in(patience_.stalled_after);
}

void Subscriber::out_of_time() {
  if (stage_ == Stage::greeting) return end(Ending::nonsense, "no hello");
  watch_it_read();
  if (queued_ == 0 && unread_ == 0) return;
  const auto due = read_at_ + patience_.stalled_after;
  if (due <= Clock::now()) return end(Ending::stalled, "does not read");
  alarm_.set_at(due);
}

}  // namespace romancy::listener
