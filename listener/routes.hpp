// Routes: which subscribers get which hint. Pure.
//
// Members of one group are copies of one program and share its hints: a hint about an instance goes to one of them,
// always the same one while the members stay, so that its memory of the instance is warm. The choice is a rendezvous
// hash: when a member comes or goes, only the instances that move to or from it change their place.
// A hint about no instance goes to every member. Observers share with nobody.
// No promise: that the chosen member is the one that holds the instance's lease; a hint is a hint.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace romancy::listener {

using MemberId = std::uint64_t;

struct Member {
  MemberId id = 0;
  std::uint64_t key = 0;  // what is hashed: the process id, so that the places survive a restart of the listener
  bool alone = false;     // an observer: gets every hint of its channels, whatever its group is
  std::string group;
  std::vector<std::string> channels;
};

class Routes {
 public:
  void join(Member member);
  void leave(MemberId id);
  // Calls `each(id)` for every member that gets a hint of this kind about this instance (if it is about one).
  template <class Each>
  void targets(std::string_view kind, std::optional<std::string_view> instance_id, Each each) const {
    for (const auto& [name, group] : groups_) {
      if (group.size() == 1 || !instance_id) {
        for (const auto& member : group) {
          if (hears(member, kind)) each(member.id);
        }
      } else if (const Member* member = chosen(group, kind, *instance_id)) {
        each(member->id);
      }
    }
  }

 private:
  using Group = std::vector<Member>;
  static bool hears(const Member& member, std::string_view kind);
  static const Member* chosen(const Group& group, std::string_view kind, std::string_view instance_id);

  std::map<std::string, Group> groups_;
};

// The score of a member for an instance; the highest is chosen. Part of the behaviour over restarts: never changed.
std::uint64_t rendezvous(std::string_view instance_id, std::uint64_t key);

}  // namespace romancy::listener
