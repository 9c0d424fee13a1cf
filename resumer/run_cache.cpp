#include "resumer/run_cache.hpp"

namespace romancy::resumer {

void RunCache::put(const std::string& instance_id, std::int64_t token, std::unique_ptr<Run> run) {
  if (capacity_ == 0) return;
  if (const auto old = by_id_.find(instance_id); old != by_id_.end()) {
    by_age_.erase(old->second);
    by_id_.erase(old);
  }
  by_age_.push_front({instance_id, token, std::move(run)});
  by_id_.emplace(instance_id, by_age_.begin());
  if (by_age_.size() > capacity_) {
    by_id_.erase(by_age_.back().instance_id);
    by_age_.pop_back();
  }
}

std::unique_ptr<Run> RunCache::take(const std::string& instance_id, std::int64_t token) {
  const auto found = by_id_.find(instance_id);
  if (found == by_id_.end()) return nullptr;
  Entry entry = std::move(*found->second);
  by_age_.erase(found->second);
  by_id_.erase(found);
  if (entry.token + 1 != token) return nullptr;
  return std::move(entry.run);
}

void RunCache::clear() {
  by_id_.clear();
  by_age_.clear();
}

}  // namespace romancy::resumer
