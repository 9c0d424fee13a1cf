#include "common/proc/board.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "common/base/errno_text.hpp"

namespace romancy::proc {
namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free, "the board needs lock-free 64-bit atomics");

constexpr std::uint64_t kMagic = 0x646f6279636e6d72;  // "rmncybod", little-endian
constexpr std::uint64_t kLayout = 2;                  // one more with every change of the structs below
constexpr std::size_t kNameWords = 6;                 // 47 bytes and a zero
constexpr std::size_t kCounters = static_cast<std::size_t>(Counter::count_);
constexpr std::size_t kHistograms = static_cast<std::size_t>(Histogram::count_);

struct Header {
  std::uint64_t magic, layout, slots, slot_bytes, counters, histograms, reserved[2];
};
static_assert(sizeof(Header) == 64 && std::is_standard_layout_v<Header>);

std::uint64_t now_ns() {  // CLOCK_MONOTONIC: the same in every process of the host
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

// All words are written by one process only, the three of the former one by that. Threads of that process may add to the same counter.
struct alignas(64) SlotLayout {
  Word claimed;  // 1: the identity below is whole. 0 while a process is writing it, or died doing so
  Word pid, started, state, live, heartbeat, beats, former;
  Word name[kNameWords], former_live, former_heartbeat;
  Word trouble, reserved[7];
  Word counters[kCounters];
  Word histograms[kHistograms][kBuckets];
};
static_assert(std::is_standard_layout_v<SlotLayout>);

namespace {

constexpr std::size_t kBoardBytes = sizeof(Header) + kSlots * sizeof(SlotLayout);

// What Boost.Interprocess wants to see of a file; its own file_mapping opens by path, and we were given a descriptor.
struct Descriptor {
  int fd;
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return boost::interprocess::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

std::string board_error(const std::string& what, int error) {
  return "status board " + what + ": " + errno_text(error);
}

// 2^63 * 2^(n/4): where the four buckets of a power of two begin, for a number shifted up to its leading one.
constexpr std::uint64_t kQuarters[4] = {0x8000000000000000, 0x9837f0518db8a96f, 0xb504f333f9de6484, 0xd744fccad69d6af4};

std::uint64_t lowest_of(int bucket) {  // the least number in this bucket or a later one
  const int shift = 63 - bucket / 4;
  const std::uint64_t quarter = kQuarters[bucket % 4];
  const std::uint64_t whole = quarter >> shift;
  return (whole << shift) == quarter ? whole : whole + 1;
}

}  // namespace

int bucket_of(std::chrono::nanoseconds value) {
  if (value.count() <= 1) return 0;
  const auto number = static_cast<std::uint64_t>(value.count());
  const int leading = std::countl_zero(number);
  const std::uint64_t top = number << leading;
  int quarter = 3;
  while (top < kQuarters[quarter]) --quarter;
  return 4 * (63 - leading) + quarter;
}

std::chrono::nanoseconds bucket_edge(int bucket) {
  constexpr std::uint64_t kLongest = std::numeric_limits<std::int64_t>::max();
  const std::uint64_t edge = bucket + 1 >= kBuckets ? kLongest : lowest_of(bucket + 1) - 1;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(edge, kLongest)));
}

std::string_view counter_name(Counter counter) {
  switch (counter) {
    case Counter::wakes_notified: return "wakes_notified";
    case Counter::wakes_swept: return "wakes_swept";
    case Counter::resyncs: return "resyncs";
    case Counter::notifications: return "notifications";
    case Counter::notifications_bad: return "notifications_bad";
    case Counter::reconnects: return "reconnects";
    case Counter::claims: return "claims";
    case Counter::runs_claimed: return "runs_claimed";
    case Counter::runs_committed: return "runs_committed";
    case Counter::runs_fenced: return "runs_fenced";
    case Counter::workflows_finished: return "workflows_finished";
    case Counter::activities_run: return "activities_run";
    case Counter::activities_failed: return "activities_failed";
    case Counter::replays: return "replays";
    case Counter::timers_fired: return "timers_fired";
    case Counter::sessions_ended: return "sessions_ended";
    case Counter::instances_removed: return "instances_removed";
    case Counter::generations_removed: return "generations_removed";
    case Counter::events_removed: return "events_removed";
    case Counter::messages_removed: return "messages_removed";
    case Counter::schedules_ticked: return "schedules_ticked";
    case Counter::events_delivered: return "events_delivered";
    case Counter::events_failed: return "events_failed";
    case Counter::subscribers: return "subscribers";
    case Counter::hub_overflows: return "hub_overflows";
    case Counter::hub_stalled: return "hub_stalled";
    case Counter::hub_strangers: return "hub_strangers";
    case Counter::hub_crowded: return "hub_crowded";
    case Counter::hub_versions: return "hub_versions";
    case Counter::hub_nonsense: return "hub_nonsense";
    case Counter::hub_departures: return "hub_departures";
    case Counter::notify_queue_percent: return "notify_queue_percent";
    case Counter::log_dropped: return "log_dropped";
    case Counter::count_: break;
  }
  return "";
}

std::string_view histogram_name(Histogram histogram) {
  switch (histogram) {
    case Histogram::start_to_activity: return "start_to_activity";
    case Histogram::timer_lateness: return "timer_lateness";
    case Histogram::commit_time: return "commit_time";
    case Histogram::claim_time: return "claim_time";
    case Histogram::delivery_time: return "delivery_time";
    case Histogram::heartbeat_time: return "heartbeat_time";
    case Histogram::count_: break;
  }
  return "";
}

// All stores are relaxed but those of `claimed`: each word stands for itself, and readers expect no order among them.

namespace {

// A slot that nobody has claimed belongs to whoever was given it.
bool owns(const SlotLayout& slot) {
  const std::uint64_t pid = slot.pid.load(std::memory_order_relaxed);
  return pid == 0 || pid == static_cast<std::uint64_t>(::getpid());
}

bool owned_before(const SlotLayout& slot) {
  return slot.former.load(std::memory_order_relaxed) == static_cast<std::uint64_t>(::getpid());
}

}  // namespace

void Slot::claim(std::string_view component) {
  if (!layout_) return;
  layout_->claimed.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // who sees a new identity word also sees the 0 above
  char name[kNameWords * 8] = {};
  component.copy(name, sizeof name - 1);
  for (std::size_t i = 0; i < kNameWords; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, name + i * 8, sizeof word);
    layout_->name[i].store(word, std::memory_order_relaxed);
  }
  // Taken over before the words are our own: what the former one says meanwhile goes to either place.
  layout_->former_live.store(layout_->live.load(std::memory_order_relaxed), std::memory_order_relaxed);
  layout_->former_heartbeat.store(layout_->heartbeat.load(std::memory_order_relaxed), std::memory_order_relaxed);
  layout_->former.store(layout_->pid.load(std::memory_order_relaxed), std::memory_order_relaxed);
  layout_->pid.store(static_cast<std::uint64_t>(::getpid()), std::memory_order_relaxed);
  layout_->started.store(now_ns(), std::memory_order_relaxed);
  layout_->heartbeat.store(now_ns(), std::memory_order_relaxed);
  layout_->beats.store(0, std::memory_order_relaxed);
  layout_->live.store(0, std::memory_order_relaxed);
  layout_->trouble.store(0, std::memory_order_relaxed);
  for (const Counter gauge : {Counter::subscribers, Counter::notify_queue_percent}) {
    layout_->counters[static_cast<std::size_t>(gauge)].store(0, std::memory_order_relaxed);
  }
  layout_->state.store(static_cast<std::uint64_t>(ProcState::starting), std::memory_order_relaxed);
  layout_->claimed.store(1, std::memory_order_release);
}

void Slot::state(ProcState state) {
  if (layout_ && owns(*layout_)) layout_->state.store(static_cast<std::uint64_t>(state), std::memory_order_relaxed);
}

void Slot::beat() {
  if (!layout_) return;
  if (!owns(*layout_)) {
    if (owned_before(*layout_)) layout_->former_heartbeat.store(now_ns(), std::memory_order_relaxed);
    return;
  }
  layout_->heartbeat.store(now_ns(), std::memory_order_relaxed);
  layout_->beats.fetch_add(1, std::memory_order_relaxed);
}

void Slot::add(Counter counter, std::uint64_t by) {
  if (layout_) layout_->counters[static_cast<std::size_t>(counter)].fetch_add(by, std::memory_order_relaxed);
}

void Slot::set(Counter gauge, std::uint64_t value) {
  if (layout_ && owns(*layout_)) layout_->counters[static_cast<std::size_t>(gauge)].store(value, std::memory_order_relaxed);
}

void Slot::record(Histogram histogram, std::chrono::nanoseconds value) {
  if (!layout_) return;
  auto& bucket = layout_->histograms[static_cast<std::size_t>(histogram)][bucket_of(value)];
  bucket.fetch_add(1, std::memory_order_relaxed);
}

void Slot::live(bool listening) {
  if (!layout_) return;
  const std::uint64_t word = listening ? 1 : 0;
  if (owns(*layout_)) layout_->live.store(word, std::memory_order_relaxed);
  else if (owned_before(*layout_)) layout_->former_live.store(word, std::memory_order_relaxed);
}

void Slot::trouble(Trouble trouble) {
  if (layout_ && owns(*layout_)) layout_->trouble.store(static_cast<std::uint64_t>(trouble), std::memory_order_relaxed);
}

std::chrono::nanoseconds SlotView::quantile(Histogram histogram, double p) const {
  const auto& buckets = histograms[static_cast<std::size_t>(histogram)];
  std::uint64_t total = 0;
  for (const auto count : buckets) total += count;
  if (total == 0) return std::chrono::nanoseconds{0};
  const auto wanted = static_cast<std::uint64_t>(std::ceil(p * static_cast<double>(total)));
  const auto rank = std::clamp<std::uint64_t>(wanted, 1, total);
  std::uint64_t below = 0;
  for (int bucket = 0; bucket < kBuckets; ++bucket) {
    below += buckets[static_cast<std::size_t>(bucket)];
    if (below >= rank) return bucket_edge(bucket);
  }
  return bucket_edge(kBuckets - 1);
}

struct Board::State {
  UniqueFd fd;
  boost::interprocess::mapped_region region;
  std::unique_ptr<SlotLayout> own;  // of a private board
  SlotLayout* slots = nullptr;
  int count = 0;
  bool writable = true;

  // Maps a file whose size and header have been checked.
  Result<void> map(const std::string& what) {
    namespace ipc = boost::interprocess;
    try {
      region = ipc::mapped_region(Descriptor{fd.get()}, writable ? ipc::read_write : ipc::read_only, 0, kBoardBytes);
    } catch (const ipc::interprocess_exception& error) {
      return try_again("status board " + what + ": cannot be mapped: " + error.what());
    }
    slots = reinterpret_cast<SlotLayout*>(static_cast<char*>(region.get_address()) + sizeof(Header));
    count = kSlots;
    return {};
  }

  Result<void> check_header(const std::string& what) const {
    Header header{};
    const ssize_t got = ::pread(fd.get(), &header, sizeof header, 0);
    if (got < 0) return try_again(board_error(what, errno));
    if (got != sizeof header || header.magic != kMagic) return refuse("status board " + what + ": not a status board");
    if (header.layout != kLayout) {
      return refuse("status board " + what + ": has layout " + std::to_string(header.layout) +
                    ", this program understands " + std::to_string(kLayout));
    }
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return try_again(board_error(what, errno));
    const bool same = header.slots == kSlots && header.slot_bytes == sizeof(SlotLayout) &&
                      header.counters == kCounters && header.histograms == kHistograms;
    if (!same || static_cast<std::size_t>(status.st_size) < kBoardBytes) {
      return refuse("status board " + what + ": has layout " + std::to_string(header.layout) + " but other sizes");
    }
    return {};
  }
};

Board::Board(std::unique_ptr<State> state) : state_(std::move(state)) {}
Board::Board(Board&&) noexcept = default;
Board& Board::operator=(Board&&) noexcept = default;
Board::~Board() = default;

Result<Board> Board::create(const std::string& path) {
  // Made beside its name and moved there when it is whole: nobody ever opens half a board, and a reader of the old
  // one keeps reading the old one.
  const std::string fresh = path + ".new";
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) return try_again(board_error(fresh, errno));
  auto state = std::make_unique<State>();
  state->fd.reset(::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
  if (!state->fd) return try_again(board_error(fresh, errno));
  const auto failed = [&](int error) {
    ::unlink(fresh.c_str());
    return try_again(board_error(fresh, error));
  };
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(state->fd.get(), 0, static_cast<off_t>(kBoardBytes));
  if (error != 0) return failed(error);
  if (::fchmod(state->fd.get(), 0640) != 0) return failed(errno);  // whatever the umask says
  const Header header{kMagic, kLayout, kSlots, sizeof(SlotLayout), kCounters, kHistograms, {}};
  if (::pwrite(state->fd.get(), &header, sizeof header, 0) != sizeof header) return failed(errno);
  if (auto mapped = state->map(path); !mapped) {
    ::unlink(fresh.c_str());
    return tl::unexpected(mapped.error());
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed(errno);
  return Board(std::move(state));
}

Result<Board> Board::adopt(UniqueFd fd) {
  auto state = std::make_unique<State>();
  state->fd = std::move(fd);
  const std::string what = "of the supervisor";
  if (auto checked = state->check_header(what); !checked) return tl::unexpected(checked.error());
  if (auto mapped = state->map(what); !mapped) return tl::unexpected(mapped.error());
  return Board(std::move(state));
}

Result<Board> Board::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->writable = false;
  state->fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!state->fd) return try_again(board_error(path, errno));
  if (auto checked = state->check_header(path); !checked) return tl::unexpected(checked.error());
  if (auto mapped = state->map(path); !mapped) return tl::unexpected(mapped.error());
  return Board(std::move(state));
}

Result<Board> Board::take_over(const std::string& path) {
  auto state = std::make_unique<State>();
  state->fd.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!state->fd || !state->check_header(path) || !state->map(path)) return create(path);
  return Board(std::move(state));
}

void Board::bury(int index, std::int64_t pid) {
  if (!state_->writable || index < 0 || index >= state_->count) return;
  SlotLayout& slot = state_->slots[index];
  if (slot.pid.load(std::memory_order_relaxed) != static_cast<std::uint64_t>(pid)) return;  // its successor's by now
  slot.state.store(static_cast<std::uint64_t>(ProcState::absent), std::memory_order_relaxed);
  slot.live.store(0, std::memory_order_relaxed);
  slot.trouble.store(0, std::memory_order_relaxed);
}

void Board::give_back(int index, std::int64_t former) {
  if (!state_->writable || index < 0 || index >= state_->count) return;
  SlotLayout& slot = state_->slots[index];
  if (slot.former.load(std::memory_order_relaxed) != static_cast<std::uint64_t>(former)) return;
  slot.started.store(now_ns(), std::memory_order_relaxed);  // another incarnation, for who reads meanwhile
  slot.heartbeat.store(slot.former_heartbeat.load(std::memory_order_relaxed), std::memory_order_relaxed);
  slot.live.store(slot.former_live.load(std::memory_order_relaxed), std::memory_order_relaxed);
  slot.beats.store(1, std::memory_order_relaxed);
  slot.state.store(static_cast<std::uint64_t>(ProcState::ready), std::memory_order_relaxed);
  slot.pid.store(static_cast<std::uint64_t>(former), std::memory_order_relaxed);
  slot.former.store(0, std::memory_order_relaxed);
}

void Board::clear(int index) {
  if (!state_->writable || index < 0 || index >= state_->count) return;
  SlotLayout& slot = state_->slots[index];
  slot.claimed.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (Word* word : {&slot.pid, &slot.started, &slot.state, &slot.live, &slot.heartbeat, &slot.beats,
                     &slot.trouble, &slot.former, &slot.former_live, &slot.former_heartbeat}) {
    word->store(0, std::memory_order_relaxed);
  }
  for (Word& word : slot.name) word.store(0, std::memory_order_relaxed);
  for (Word& counter : slot.counters) counter.store(0, std::memory_order_relaxed);
  for (auto& histogram : slot.histograms) {
    for (Word& bucket : histogram) bucket.store(0, std::memory_order_relaxed);
  }
}

std::string Board::name(int index) const { return read(index).component; }

Board Board::private_one() {
  auto state = std::make_unique<State>();
  state->own = std::make_unique<SlotLayout>();
  state->slots = state->own.get();
  state->count = 1;
  return Board(std::move(state));
}

Slot Board::slot(int index) {
  const bool ours = state_->writable && index >= 0 && index < state_->count;
  return ours ? Slot(&state_->slots[index]) : Slot();
}

SlotView Board::read(int index) const {
  SlotView view;
  if (index < 0 || index >= state_->count) return view;
  const SlotLayout& slot = state_->slots[index];
  const auto load = [](const Word& word) { return word.load(std::memory_order_relaxed); };
  for (std::size_t i = 0; i < kCounters; ++i) view.counters[i] = load(slot.counters[i]);
  for (std::size_t h = 0; h < kHistograms; ++h) {
    for (std::size_t b = 0; b < kBuckets; ++b) view.histograms[h][b] = load(slot.histograms[h][b]);
  }
  if (slot.claimed.load(std::memory_order_acquire) == 0) return view;
  SlotView anonymous;  // the counters alone
  anonymous.counters = view.counters;
  anonymous.histograms = view.histograms;
  // First of all, and again at the end: the same twice means that nobody claimed it anew in between.
  const std::uint64_t started = load(slot.started);
  std::atomic_thread_fence(std::memory_order_acquire);
  char name[kNameWords * 8] = {};
  for (std::size_t i = 0; i < kNameWords; ++i) {
    const std::uint64_t word = load(slot.name[i]);
    std::memcpy(name + i * 8, &word, sizeof word);
  }
  const std::uint64_t now = now_ns(), heartbeat = load(slot.heartbeat);
  const auto age = [&](std::uint64_t then) {  // in milliseconds
    return then < now ? static_cast<std::int64_t>((now - then) / 1'000'000) : 0;
  };
  view.pid = static_cast<std::int64_t>(load(slot.pid));
  view.state = static_cast<ProcState>(load(slot.state));
  view.live = load(slot.live) != 0;
  const std::uint64_t trouble = load(slot.trouble);
  view.trouble = trouble < static_cast<std::uint64_t>(Trouble::count_) ? static_cast<Trouble>(trouble) : Trouble::none;
  view.uptime_ms = age(started);
  view.heartbeat_age_ms = age(heartbeat);
  view.beats = load(slot.beats);
  view.former_pid = static_cast<std::int64_t>(load(slot.former));
  view.former_live = view.former_pid != 0 && load(slot.former_live) != 0;
  view.former_heartbeat_age_ms = age(load(slot.former_heartbeat));
  std::atomic_thread_fence(std::memory_order_acquire);
  // Claimed anew, or its writer died in claim(), while we read: no identity rather than half of two.
  if (slot.claimed.load(std::memory_order_acquire) == 0 || load(slot.started) != started) return anonymous;
  view.component.assign(name, ::strnlen(name, sizeof name - 1));
  return view;
}

std::vector<SlotView> Board::read() const {
  std::vector<SlotView> views;
  for (int index = 0; index < state_->count; ++index) {
    if (SlotView view = read(index); view.pid != 0) views.push_back(std::move(view));
  }
  return views;
}

int Board::fd() const { return state_->fd.get(); }

}  // namespace romancy::proc
