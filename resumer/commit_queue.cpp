#include "resumer/commit_queue.hpp"

#include <chrono>
#include <utility>

#include "common/base/check.hpp"
#include "common/base/log.hpp"
#include "common/pg/sqlstate.hpp"

namespace romancy::resumer {

using namespace std::chrono_literals;

CommitQueue::CommitQueue(io::Loop& loop, RunStore& store, proc::Slot slot, int max_batch, int inbox_limit)
    : loop_(loop), store_(store), slot_(slot), max_batch_(max_batch), inbox_limit_(inbox_limit), retry_(loop, [this] {
        if (again_) send(std::exchange(again_, nullptr));
      }) {}

void CommitQueue::push(CommitItem item, Reply reply) {
  queue_.push_back({std::move(item), std::move(reply)});
  if (under_way_ || pump_due_) return;
  pump_due_ = true;  // at the end of the turn: what else became ready in it travels along
  loop_.at_turn_end([this, epoch = epoch_] {
    if (epoch != epoch_) return;
    pump_due_ = false;
    pump();
  });
}

void CommitQueue::drop_all() {
  ++epoch_;
  queue_.clear();
  halves_.clear();
  again_.reset();
  retry_.cancel();
  under_way_ = pump_due_ = false;
}

void CommitQueue::pump() {
  if (under_way_) return;
  std::shared_ptr<Batch> batch;
  if (!halves_.empty()) {
    batch = std::move(halves_.front());
    halves_.pop_front();
  } else if (!queue_.empty()) {
    batch = std::make_shared<Batch>();
    while (!queue_.empty() && batch->size() < static_cast<std::size_t>(max_batch_)) {
      batch->push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
  } else {
    return;
  }
  under_way_ = true;
  send(batch);
}

void CommitQueue::send(const std::shared_ptr<Batch>& batch) {
  std::vector<const CommitItem*> items;
  items.reserve(batch->size());
  for (const Entry& entry : *batch) items.push_back(&entry.item);
  const auto sent = std::chrono::steady_clock::now();
  store_.commit(session_, items, inbox_limit_,
                [this, batch, sent, epoch = epoch_](Result<std::vector<Committed>> answers) {
                  if (epoch != epoch_) return;
                  if (!answers) return failed(batch, answers.error());
                  slot_.record(proc::Histogram::commit_time, std::chrono::steady_clock::now() - sent);
                  under_way_ = false;
                  for (std::size_t i = 0; i < batch->size() && epoch == epoch_; ++i) {
                    (*batch)[i].reply(std::move((*answers)[i]));
                  }
                  if (epoch == epoch_) pump();
                });
}

void CommitQueue::failed(std::shared_ptr<Batch> batch, const Error& error) {
  if (pg::is_data_error(error.sqlstate)) {
    under_way_ = false;
    if (batch->size() == 1) {
      const auto epoch = epoch_;
      batch->front().reply(tl::unexpected(error));
      if (epoch != epoch_) return;
    } else {
      const auto middle = batch->begin() + static_cast<std::ptrdiff_t>(batch->size() / 2);
      auto second = std::make_shared<Batch>(std::make_move_iterator(middle), std::make_move_iterator(batch->end()));
      batch->erase(middle, batch->end());
      halves_.push_front(std::move(second));
      halves_.push_front(std::move(batch));
    }
    pump();
    return;
  }
  if (error.kind == ErrorKind::bug && error.sqlstate.empty()) broken("the answer to a commit is not one", error.text);
  if (error.sqlstate.empty() || error.sqlstate.starts_with("08")) {
    return;  // the connection is gone: on_down follows, and the owner drops everything
  }
  log::warn("commit failed, trying it again", {{"error", error.text}, {"sqlstate", error.sqlstate}, {"runs", batch->size()}});
  again_ = std::move(batch);
  retry_.set_in(error.kind == ErrorKind::retry ? 10ms : 1000ms);
}

}  // namespace romancy::resumer
