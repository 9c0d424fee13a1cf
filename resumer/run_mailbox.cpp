#include "resumer/run_mailbox.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace romancy::resumer {

Mailbox::Channel& Mailbox::channel(const std::string& name) {
  const auto [place, is_new] = channels_.try_emplace(name);
  if (is_new && left_behind_) place->second.gap = 1;
  return place->second;
}

void Mailbox::put(const InboxRow& row) {
  if (popped_.contains(row.id) || popped_before_.contains(row.id)) return;
  if (channel(row.name).rows.emplace(row.id, row).second) unreported_.insert(row.id);
}

bool Mailbox::found(const std::string& name, std::span<const InboxRow> rows, bool all) {
  Channel& in = channel(name);
  for (const InboxRow& row : rows) {
    if (!popped_.contains(row.id) && !popped_before_.contains(row.id)) in.rows.emplace(row.id, row);
  }
  const std::int64_t gap = all ? kNoGap : rows.empty() ? in.gap : rows.back().id + 1;
  const bool progress = gap > in.gap || all;
  in.gap = std::max(in.gap, gap);
  return progress;
}

bool Mailbox::must_search(const std::string& name) const {
  const auto place = channels_.find(name);
  if (place == channels_.end()) return left_behind_;
  const auto& [rows, gap] = place->second;
  return gap != kNoGap && (rows.empty() || rows.begin()->first >= gap);
}

std::int64_t Mailbox::search_after(const std::string& name) const {
  const auto place = channels_.find(name);
  return place == channels_.end() ? 0 : place->second.gap - 1;
}

std::optional<InboxRow> Mailbox::pop(const std::string& name) {
  const auto place = channels_.find(name);
  if (place == channels_.end() || place->second.rows.empty()) return std::nullopt;
  Channel& from = place->second;
  auto oldest = from.rows.extract(from.rows.begin());
  popped_.insert(oldest.key());
  unreported_.erase(oldest.key());
  if (from.rows.empty() && from.gap == kNoGap && !left_behind_) channels_.erase(place);
  return std::move(oldest.mapped());
}

std::vector<std::int64_t> Mailbox::give_back(const std::string& name) {
  std::vector<std::int64_t> ids;
  const auto place = channels_.find(name);
  if (place == channels_.end()) return ids;
  std::erase_if(place->second.rows, [&](const auto& entry) {
    if (entry.second.op == 0) return false;
    ids.push_back(entry.first);
    return true;
  });
  for (const std::int64_t id : ids) {
    popped_.insert(id);
    unreported_.erase(id);
  }
  return ids;
}

std::vector<std::string> Mailbox::distributed() const {
  std::vector<std::string> names;
  for (const auto& [name, in] : channels_) {
    if (std::any_of(in.rows.begin(), in.rows.end(), [](const auto& entry) { return entry.second.op != 0; }))
      names.push_back(name);
  }
  return names;
}

std::vector<std::int64_t> Mailbox::report() {
  for (auto& [name, in] : channels_) {
    while (in.rows.size() > kKept) {
      const auto newest = std::prev(in.rows.end());
      in.gap = std::min(in.gap, newest->first);
      in.rows.erase(newest);
    }
  }
  popped_before_ = std::exchange(popped_, {});
  const auto news = std::exchange(unreported_, {});
  return {news.begin(), news.end()};
}

}  // namespace romancy::resumer
