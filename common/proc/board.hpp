// Board: the status board, one fixed slot a process in one shared mapping (Boost.Interprocess maps it, no more).
//
// One writer a slot, any number of readers, lock-free 64-bit atomics only: a process killed at any instruction
// cannot hang or confuse another. Counters of a slot go on over restarts of its process (the next incarnation adds
// to what is there), so exported counters are monotonic while the board lives. No mutex, no pointer, no string object.
// Who claimed a slot last owns it. A predecessor that is on its way out beside it (an upgrade replaces the listener so)
// may still count, for that is an atomic addition, but no longer says how it is: what it says stands beside, as the former
// one's word, and counts again when the successor dies first and the supervisor gives the slot back.
//
// The supervisor creates the file <runtime_dir>/board (posix_fallocate: a full disk is an error now, not a SIGBUS
// later) and hands the descriptor down. A process without a supervisor keeps a private board of one slot.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/unique_fd.hpp"
#include "common/proc/trouble.hpp"

namespace romancy::proc {

// The counters. Names (counter_name) are the same on the board, in `romancy status --json` and in the docs.
enum class Counter : std::uint8_t {
  wakes_notified,        // looks at the database caused by a hint
  wakes_swept,           // looks caused by a poll
  resyncs,               // resyncs received from the hub
  notifications,         // listener: notifications read from PostgreSQL
  notifications_bad,     // listener: malformed or foreign, not passed on
  reconnects,            // database connections made after the first
  claims,                // resumer: claim calls
  runs_claimed,          // resumer: instances claimed
  runs_committed,        // resumer: runs accepted by the database
  runs_fenced,           // resumer: runs whose lease was gone
  workflows_finished,    // resumer: instances that reached a final status
  activities_run,        // resumer: activity attempts that ended
  activities_failed,     // resumer: of these, with an error
  replays,               // resumer: instances rebuilt from history (not found in memory)
  timers_fired,          // timer
  sessions_ended,        // timer: sessions of dead workers ended
  instances_removed,     // timer: finished instances whose time was over
  generations_removed,   // timer: of the archive
  events_removed,        // timer: outbox events, delivered or given up
  messages_removed,      // timer: of competing channels, that nobody took
  schedules_ticked,      // timer: ticks of schedules seen to
  events_delivered,      // relay: events accepted by the sink
  events_failed,         // relay: delivery attempts that failed
  subscribers,           // listener: a gauge: subscribers now
  hub_overflows,         // listener: queues collapsed into a resync
  hub_stalled,           // listener: subscribers hung up on because they did not read
  hub_strangers,         // listener: peers refused because of their user
  hub_crowded,           // listener: peers refused because max_subscribers were there
  hub_versions,          // listener: peers refused because they speak another version
  hub_nonsense,          // listener: peers hung up on: no hello, a line too long, garbage, a word too many
  hub_departures,        // listener: groups told to look because a member with hints on its hands left
  notify_queue_percent,  // listener: a gauge: how full the server's notification queue was at the last heartbeat
  log_dropped,           // lines of the log that nobody took
  count_
};
std::string_view counter_name(Counter counter);

enum class Histogram : std::uint8_t {
  start_to_activity,  // resumer: from the commit-side clock of start_workflow to the first activity's start
  timer_lateness,     // timer: from expires_at to the firing transaction (database clock)
  commit_time,        // resumer: one run commit, sent to answered
  claim_time,         // resumer: one claim, sent to answered
  delivery_time,      // relay: one delivery attempt
  heartbeat_time,     // listener: self-notification, sent to seen
  count_
};
std::string_view histogram_name(Histogram histogram);

enum class ProcState : std::uint8_t { absent, starting, ready, draining };

inline constexpr int kSlots = 64;
inline constexpr int kBuckets = 256;  // of a histogram: 4 a power of two, over nanoseconds

// The bucket of a duration, and the upper edge of a bucket: pure, in board.cpp, unit-tested.
int bucket_of(std::chrono::nanoseconds value);
std::chrono::nanoseconds bucket_edge(int bucket);

struct SlotLayout;  // the mapped struct (board.cpp): standard layout, static_assert'ed lock-free

// The writing side: the one slot of this process.
class Slot {
 public:
  Slot() = default;
  explicit Slot(SlotLayout* layout) : layout_(layout) {}
  void claim(std::string_view component);  // identity: component (at most 47 bytes), pid, start time
  void state(ProcState state);
  void beat();                             // heartbeat: this loop turns
  void add(Counter counter, std::uint64_t by = 1);
  void set(Counter gauge, std::uint64_t value);
  void record(Histogram histogram, std::chrono::nanoseconds value);
  void live(bool listening);               // does this process hear notifications (listener: is it Live)
  void trouble(Trouble trouble);           // listener: why it does not

 private:
  SlotLayout* layout_ = nullptr;  // null: a slot that nobody reads
};

struct SlotView {  // a copy of a slot, taken by a reader
  std::string component;
  std::int64_t pid = 0;
  ProcState state = ProcState::absent;
  bool live = false;
  Trouble trouble = Trouble::none;    // of a listener that is not live
  std::int64_t uptime_ms = 0;         // since this incarnation claimed the slot
  std::int64_t heartbeat_age_ms = 0;  // since its last beat (since the claim, if there was none)
  std::uint64_t beats = 0;            // of this incarnation; 0: its loop has not turned yet
  std::int64_t former_pid = 0;        // who had the slot before; it may live
  bool former_live = false;
  std::int64_t former_heartbeat_age_ms = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(Counter::count_)> counters{};
  std::array<std::array<std::uint64_t, kBuckets>, static_cast<std::size_t>(Histogram::count_)> histograms{};
  // p in (0, 1]; zero when nothing was recorded. Upper edge of the bucket: at most 19 % high.
  [[nodiscard]] std::chrono::nanoseconds quantile(Histogram histogram, double p) const;
};

class Board {
 public:
  // Creates (or replaces) the board at `path`, mode 0640.
  static Result<Board> create(const std::string& path);
  // Maps an inherited descriptor, read-write.
  static Result<Board> adopt(UniqueFd fd);
  // Maps the file for reading. Refuses another layout version, saying which.
  static Result<Board> open(const std::string& path);
  // Maps the board at `path` for writing, with the counters in it; makes a new one if there is none that fits.
  static Result<Board> take_over(const std::string& path);
  // A board of this process alone, seen by nobody.
  static Board private_one();

  Board(Board&&) noexcept;
  Board& operator=(Board&&) noexcept;
  ~Board();
  [[nodiscard]] Slot slot(int index);
  [[nodiscard]] std::vector<SlotView> read() const;  // the slots in use
  [[nodiscard]] SlotView read(int index) const;
  // For the supervisor, which knows who died. A dead process's slot says that nobody is there; its counters stay.
  void bury(int index, std::int64_t pid);
  // The one that claimed it last is dead, and `former`, which had it before, lives on: it is its slot again.
  void give_back(int index, std::int64_t former);
  // As new, for a component of another name. Nobody may use it.
  void clear(int index);
  [[nodiscard]] std::string name(int index) const;  // of the component that claimed it last; empty: none
  [[nodiscard]] int fd() const;  // to hand down; -1 for a private one

 private:
  struct State;
  explicit Board(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace romancy::proc
