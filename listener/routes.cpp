#include "listener/routes.hpp"

#include <algorithm>
#include <utility>

namespace romancy::listener {
namespace {

// The finalizer of splitmix64: every input bit moves every output bit, which FNV alone does not do for its last bytes.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t rendezvous(std::string_view instance_id, std::uint64_t key) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a, 64 bits
  for (const char c : instance_id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mixed(hash ^ mixed(key + 0x9e3779b97f4a7c15u));
}

void Routes::join(Member member) {
  // Observers get a group of their own, under a name that no subscriber can say (the wire refuses NUL).
  const std::string name = member.alone ? std::string(1, '\0') + std::to_string(member.id) : member.group;
  Group& group = groups_[name];
  // Two subscriptions of one process must not have one key, or the second would get nothing.
  const auto taken = [&group](std::uint64_t key) {
    return std::any_of(group.begin(), group.end(), [key](const Member& other) { return other.key == key; });
  };
  while (taken(member.key)) member.key += std::uint64_t{1} << 32;
  group.push_back(std::move(member));
}

void Routes::leave(MemberId id) {
  for (auto it = groups_.begin(); it != groups_.end(); ++it) {
    if (std::erase_if(it->second, [id](const Member& member) { return member.id == id; }) == 0) continue;
    if (it->second.empty()) groups_.erase(it);
    return;
  }
}

bool Routes::hears(const Member& member, std::string_view kind) {
  return std::find(member.channels.begin(), member.channels.end(), kind) != member.channels.end();
}

const Member* Routes::chosen(const Group& group, std::string_view kind, std::string_view instance_id) {
  const Member* best = nullptr;
  std::uint64_t highest = 0;
  for (const auto& member : group) {
    if (!hears(member, kind)) continue;
    const std::uint64_t score = rendezvous(instance_id, member.key);
    if (best == nullptr || score > highest) {
      best = &member;
      highest = score;
    }
  }
  return best;
}

}  // namespace romancy::listener
