// Mailbox: the messages of one instance that nobody has received yet, a channel each, oldest (lowest inbox id) first.
//
// A message stays a row of the inbox until it is received; here is a copy. Not all of them need be here:
//   - a run rebuilt on another worker never saw the rows an earlier run was given (they are marked seen);
//   - beyond kKept a channel keeps no copies of the newest (their rows are marked seen all the same).
// Where copies may be missing there is a gap; must_search() says when it is reached. Then the owner reads the seen rows
// above search_after() and gives them to found().
// Promise: pop() never gives a message while an older one of its channel may be missing here.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "resumer/events.hpp"

namespace romancy::resumer {

class Mailbox {
 public:
  static constexpr std::size_t kKept = 256;  // copies a channel

  // Before the first put().
  void left_behind(bool some) { left_behind_ = some; }
  // A row of the inbox that was delivered. One that is here already, or was popped a moment ago, is ignored.
  void put(const InboxRow& row);
  // Seen rows of a channel above search_after(), in id order; `all`: there are no more. False: no progress although
  // there are more, so whoever read them did not heed search_after().
  bool found(const std::string& channel, std::span<const InboxRow> rows, bool all);

  [[nodiscard]] bool must_search(const std::string& channel) const;
  [[nodiscard]] std::int64_t search_after(const std::string& channel) const;
  std::optional<InboxRow> pop(const std::string& channel);  // nothing when empty; not while must_search()
  // Takes out the rows of a channel that came by distribution (op is not 0): their inbox ids.
  std::vector<std::int64_t> give_back(const std::string& channel);
  // The channels that have such rows.
  [[nodiscard]] std::vector<std::string> distributed() const;

  // To be called when everything until now is about to be committed: the ids that stay and were not reported before.
  // Drops copies beyond kKept (their rows can be read once that commit is through), and forgets what was popped before
  // the last call (deleted by now).
  std::vector<std::int64_t> report();

 private:
  static constexpr std::int64_t kNoGap = std::numeric_limits<std::int64_t>::max();
  struct Channel {
    std::map<std::int64_t, InboxRow> rows;
    std::int64_t gap = kNoGap;  // from this id on copies may be missing
  };
  Channel& channel(const std::string& name);

  std::map<std::string, Channel> channels_;  // while left_behind_, also the empty ones that were searched
  bool left_behind_ = false;
  std::set<std::int64_t> unreported_;
  std::set<std::int64_t> popped_, popped_before_;
};

}  // namespace romancy::resumer
