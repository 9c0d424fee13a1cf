// romancy history export: what replay_file() of <romancy/testing.hpp> reads; the format is resumer/testing_history.hpp's.
#include <cstdio>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/text.hpp"
#include "sql/cli.hpp"

namespace romancy::cli {

int history_export(const Globals& globals, const std::string& id) {
  return with_database("history", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::export_history, pg::Params(id));
    if (!rows) return tl::unexpected(Error(rows.error()).within("history export"));
    if (rows->empty()) return refuse("ID: there is no instance " + id);
    JsonObject head;
    head.text("format", "romancy.history")
        .number("version", 1)
        .text("instance_id", id)
        .text("workflow", rows->str(0, 0))
        .text("status", rows->str(0, 1))
        .number("generation", rows->int64(0, 2) + rows->int64(0, 3))
        .number("first_generation", rows->int64(0, 3));
    std::string text = head.str();
    text.back() = ',';
    text += "\"history\":[";
    for (int i = 0; i < rows->size() && !rows->is_null(i, 4); ++i) {
      JsonObject row;
      row.number("seq", rows->int64(i, 4)).number("op", rows->int64(i, 5)).text("kind", rows->str(i, 6));
      row.text("name", rows->is_null(i, 7) ? "" : rows->str(i, 7));
      row.raw("data", rows->is_null(i, 8) ? std::nullopt : std::optional(rows->str(i, 8)));
      text += (i == 0 ? "\n" : ",\n") + row.str();
    }
    std::printf("%s\n]}\n", text.c_str());
    return kExitOk;
  });
}

}  // namespace romancy::cli
