// The activities that every worker has. Their names begin with "romancy.", which nobody else's may.
#include "resumer/registry.hpp"
#include "sql/resumer.hpp"

namespace romancy::resumer {

std::vector<ActivityRef> builtin_activities() {
  return {
      // Who is in a group at this moment, in order of their ids: one snapshot, recorded with the activity's result.
      transactional("romancy.group_members",
                    [](Transaction& tx, const std::string& group) {
                      std::vector<std::string> ids;
                      const auto rows = tx.exec(sql::resumer::group_members.in_schema(tx.schema()), group);
                      for (std::size_t i = 0; i < rows.size(); ++i) ids.push_back(rows.get<std::string>(i, 0));
                      return ids;
                    }),
  };
}

}  // namespace romancy::resumer
