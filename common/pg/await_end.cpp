#include "common/pg/await_end.hpp"

#include <algorithm>

#include "common/base/json.hpp"
#include "sql/all.hpp"

namespace romancy::pg {
namespace {

bool names(const std::string& payload, const std::string& instance_id) {
  const auto hint = parse_json(payload, "workflow_finished");
  return hint && hint->is_object() && hint->contains("instance_id") && (*hint)["instance_id"] == instance_id;
}

}  // namespace

Result<std::optional<End>> await_end(Blocking& db, const std::string& schema, const std::string& instance_id,
                                     std::chrono::steady_clock::time_point deadline, std::chrono::milliseconds fallback) {
  const auto heard = db.query("LISTEN \"" + schema + "_workflow_finished\"");
  if (!heard) return tl::unexpected(Error(heard.error()).within("listen"));
  for (;;) {
    const auto rows = db.query(sql::all::await_workflow, Params(instance_id));
    if (!rows) return tl::unexpected(Error(rows.error()).within("await_workflow"));
    const std::string status = rows->str(0, 0);
    const auto text = [&](int column) { return rows->is_null(0, column) ? std::nullopt : std::optional(rows->str(0, column)); };
    if (status == "completed" || status == "failed" || status == "cancelled") return End{status, text(1), text(2)};
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) return std::optional<End>();
    if (!rows->boolean(0, 3)) continue;  // entered by this call: the next one, in another transaction, makes it count
    const auto until = std::min(deadline, now + fallback);
    for (bool ours = false; !ours;) {
      const auto told = db.wait_notified(until);
      if (!told) return tl::unexpected(Error(told.error()).within("wait"));
      if (told->empty()) break;
      ours = std::any_of(told->begin(), told->end(), [&](const std::string& payload) { return names(payload, instance_id); });
    }
  }
}

}  // namespace romancy::pg
