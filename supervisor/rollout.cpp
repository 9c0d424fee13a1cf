#include "supervisor/rollout.hpp"

namespace romancy::supervisor {

Standing judge(const Replacement& replacement, std::chrono::milliseconds ready_timeout) {
  switch (replacement.state) {
    case ChildState::exited: return Standing::settled;  // an operator stopped it
    case ChildState::backoff:
    case ChildState::held: return Standing::halt;
    case ChildState::draining:
    case ChildState::restarting: return Standing::wait;  // the old one has work in hand
    case ChildState::starting:
      // It lives and is not ready: the database is away, say. That is no fault of the new program.
      return replacement.is_new && replacement.age > ready_timeout ? Standing::settled : Standing::wait;
    case ChildState::ready:
      if (!replacement.is_new) return Standing::wait;
      if (!replacement.must_hear || replacement.hears) return Standing::settled;
      if (replacement.former_hears) return replacement.age > kHearAtLast ? Standing::halt : Standing::wait;
      return replacement.age > kHearWithin ? Standing::settled : Standing::wait;
    case ChildState::count_: break;
  }
  return Standing::halt;
}

}  // namespace romancy::supervisor
