// History: the tape of one instance. Recorded rows are played first; what comes after them is written.
//
// Invariant: while recorded rows are left, nothing can be appended; a command must equal the next of them.
// The first difference is kept in words (mismatch()), and from then on the tape takes and gives nothing.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "resumer/events.hpp"

namespace romancy::resumer {

std::string_view kind_name(HistoryKind kind);  // as the view workflow_history shows it
std::optional<HistoryKind> kind_named(std::string_view name);
// "timer_started 'sleep' (operation 3)"
std::string describe(HistoryKind kind, std::int32_t op, std::string_view name);

class History {
 public:
  // Begins to play. Refuses rows that are not seq 1, 2, 3 .. The rows must live until end().
  Result<void> play(std::span<const HistoryRow> rows);
  void end() { rows_ = {}; }

  // The recorded row that comes next, nullptr when all were played.
  [[nodiscard]] const HistoryRow* next() const { return next_ < rows_.size() ? &rows_[next_] : nullptr; }
  [[nodiscard]] bool playing() const noexcept { return next_ < rows_.size(); }
  // One of the rows that are left to play is about this operation.
  [[nodiscard]] bool plays(std::int32_t op) const;
  void pass() { last_seq_ = rows_[next_++].seq; }

  struct Command {
    bool played = false;  // it was recorded before: its effects are done
    std::string data;     // what was recorded
  };
  // What the code did now. Nothing: a mismatch.
  std::optional<Command> command(HistoryKind kind, std::int32_t op, std::string_view name, std::string data);
  // What the instance is told now; only when nothing is left to play.
  void event(HistoryKind kind, std::int32_t op, std::string_view name, std::string data);

  // The code stands at `doing`, which is not what the next recorded row says.
  void mismatch(std::string_view doing);
  [[nodiscard]] const std::string& mismatch() const { return mismatch_; }  // empty: none
  struct Difference {
    std::int64_t seq = 0;  // 0: history had nothing more
    std::int32_t op = 0;
    std::string recorded, now;
  };
  [[nodiscard]] const Difference& difference() const { return difference_; }  // the same, in parts
  [[nodiscard]] bool broken() const { return !mismatch_.empty(); }

  [[nodiscard]] std::int64_t last_seq() const { return last_seq_; }
  std::vector<HistoryRow> take() { return std::exchange(written_, {}); }

 private:
  std::span<const HistoryRow> rows_;
  std::size_t next_ = 0;
  std::int64_t last_seq_ = 0;
  std::vector<HistoryRow> written_;
  std::string mismatch_;
  Difference difference_;
};

}  // namespace romancy::resumer
