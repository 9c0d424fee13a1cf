#include "common/io/loop.hpp"

#include <csignal>
#include <deque>
#include <mutex>
#include <vector>

#include "common/io/handle.hpp"

namespace romancy::io {

struct Loop::State {
  uv_loop_t loop{};
  Handle<uv_async_t> wake;      // post() from any thread
  Handle<uv_prepare_t> before;  // turn ends: before the loop blocks, for what timers and close callbacks recorded,
  Handle<uv_check_t> after;     // and after it has polled, for what the descriptors' callbacks recorded
  Handle<uv_idle_t> spin;       // active while something waits for the next turn end: the loop must not block

  std::mutex mutex;
  std::deque<std::function<void()>> posted;       // under the mutex
  std::vector<std::function<void()>> turn_ended;  // loop thread only

  State() {
    must(uv_loop_init(&loop), "uv_loop_init");
    must(uv_async_init(&loop, wake.get(), [](uv_async_t* h) { static_cast<State*>(h->data)->run_posted(); }),
         "uv_async_init");
    wake.get()->data = this;
    must(uv_prepare_init(&loop, before.get()), "uv_prepare_init");
    before.get()->data = this;
    must(uv_prepare_start(before.get(), [](uv_prepare_t* h) { static_cast<State*>(h->data)->end_turn(); }),
         "uv_prepare_start");
    must(uv_check_init(&loop, after.get()), "uv_check_init");
    after.get()->data = this;
    must(uv_check_start(after.get(), [](uv_check_t* h) { static_cast<State*>(h->data)->end_turn(); }),
         "uv_check_start");
    must(uv_idle_init(&loop, spin.get()), "uv_idle_init");
  }

  void run_posted() {
    std::deque<std::function<void()>> now;
    {
      const std::lock_guard lock(mutex);
      now.swap(posted);
    }
    for (auto& fn : now) fn();
  }

  // Only what was recorded before: a function that asks for another turn end gets the next one, and descriptors get
  // their say in between.
  void end_turn() {
    if (turn_ended.empty()) return;
    std::vector<std::function<void()>> now;
    now.swap(turn_ended);
    for (auto& fn : now) fn();
    if (turn_ended.empty()) uv_idle_stop(spin.get());
  }
};

Loop::Loop() : state_(std::make_unique<State>()) {}

Loop::~Loop() {
  // What was never run may own handles: let it go while the loop can still close them.
  while (!state_->posted.empty() || !state_->turn_ended.empty()) {
    decltype(state_->posted) posted;
    decltype(state_->turn_ended) turn_ended;
    posted.swap(state_->posted);
    turn_ended.swap(state_->turn_ended);
  }
  state_->wake.close();
  state_->before.close();
  state_->after.close();
  state_->spin.close();
  // Runs the close callbacks. More than one turn only for a signal that was caught but not yet told.
  for (int turns = 0; turns < 16 && uv_run(&state_->loop, UV_RUN_NOWAIT) != 0; ++turns) {
  }
  const int answer = uv_loop_close(&state_->loop);
  check(answer == 0, "a handle outlives its loop: destroy the owners of alarms, watches and streams first",
        answer == 0 ? "" : uv_strerror(answer));
}

void Loop::run() {
  // A peer that hangs up must be an EPIPE of the write, not the end of this process.
  check(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR, "SIGPIPE can be ignored");
  uv_run(&state_->loop, UV_RUN_DEFAULT);  // returns only after stop(): the async handle keeps the loop alive
}

void Loop::stop() { uv_stop(&state_->loop); }

void Loop::post(std::function<void()> fn) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->posted.push_back(std::move(fn));
  }
  must(uv_async_send(state_->wake.get()), "uv_async_send");
}

void Loop::at_turn_end(std::function<void()> fn) {
  state_->turn_ended.push_back(std::move(fn));
  must(uv_idle_start(state_->spin.get(), [](uv_idle_t*) {}), "uv_idle_start");
}

uv_loop_s* Loop::raw() { return &state_->loop; }

}  // namespace romancy::io
