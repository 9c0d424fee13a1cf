#include "common/io/watch.hpp"

#include "common/io/handle.hpp"

namespace romancy::io {

struct Watch::State : std::enable_shared_from_this<Watch::State> {
  Handle<uv_poll_t> poll;
  OnEvent on_event;
  int wanted = 0;

  void start() { must(uv_poll_start(poll.get(), wanted, &State::on_poll), "uv_poll_start"); }

  static void on_poll(uv_poll_t* handle, int status, int events) {
    const auto self = static_cast<State*>(handle->data)->shared_from_this();  // on_event may destroy the Watch
    if (status < 0) {
      // libuv has stopped the handle. Started again, an owner that misses the error now is told again: a busy loop is
      // seen, a silent one is not.
      self->start();
      events = UV_READABLE | UV_WRITABLE;
    }
    self->on_event((events & UV_READABLE) != 0, (events & UV_WRITABLE) != 0);
  }
};

Watch::Watch(Loop& loop, int fd, OnEvent on_event) : state_(std::make_shared<State>()) {
  must(uv_poll_init(loop.raw(), state_->poll.get(), fd), "uv_poll_init");
  state_->poll.get()->data = state_.get();
  state_->on_event = std::move(on_event);
}

Watch::~Watch() { state_->poll.close(); }

void Watch::want(bool readable, bool writable) {
  const int wanted = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
  if (wanted == state_->wanted) return;
  state_->wanted = wanted;
  if (wanted == 0) must(uv_poll_stop(state_->poll.get()), "uv_poll_stop");
  else state_->start();
}

}  // namespace romancy::io
