// testing_history: a recorded history as text. Written by `romancy history export` and History::json(), read by replay.
//
//   {"format": "romancy.history", "version": 1, "instance_id": .., "workflow": .., "status": ..,
//    "generation": 0, "first_generation": 0,
//    "history": [{"seq": 1, "op": 0, "kind": "started", "name": null, "data": ..}, ..]}
//
// Fields that are not named here are ignored; a version that is higher is refused.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "resumer/events.hpp"
#include "romancy/testing.hpp"

namespace romancy::testing {

// Refuses, naming the field: "history[3].kind: 'foo' is no kind of event".
Result<History> read_history(std::string_view text);
std::vector<resumer::HistoryRow> rows_of(const History& history);

}  // namespace romancy::testing
