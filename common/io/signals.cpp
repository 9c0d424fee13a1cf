#include "common/io/signals.hpp"

#include <vector>

#include "common/io/handle.hpp"

namespace romancy::io {

struct Signals::State : std::enable_shared_from_this<Signals::State> {
  std::vector<std::unique_ptr<Handle<uv_signal_t>>> handles;
  std::function<void(int)> on_signal;

  static void on_uv_signal(uv_signal_t* handle, int signal) {
    const auto self = static_cast<State*>(handle->data)->shared_from_this();  // on_signal may destroy the Signals
    self->on_signal(signal);
  }
};

Signals::Signals(Loop& loop, std::initializer_list<int> signals, std::function<void(int)> on_signal)
    : state_(std::make_shared<State>()) {
  state_->on_signal = std::move(on_signal);
  for (const int signal : signals) {
    auto handle = std::make_unique<Handle<uv_signal_t>>();
    must(uv_signal_init(loop.raw(), handle->get()), "uv_signal_init");
    handle->get()->data = state_.get();
    must(uv_signal_start(handle->get(), &State::on_uv_signal, signal), "uv_signal_start");
    state_->handles.push_back(std::move(handle));
  }
}

Signals::~Signals() {
  for (auto& handle : state_->handles) handle->close();
}

}  // namespace romancy::io
