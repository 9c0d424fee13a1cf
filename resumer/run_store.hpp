// RunStore: the SQL of the resumer: structs in, structs out. Every call is one round trip and one transaction
// (sql/engine/). Replies come on the loop; a lost connection answers everything with a try-again error.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/conn.hpp"
#include "resumer/run.hpp"

namespace romancy::resumer {

// Stands for all competing channels in a claim: its pokes name a channel, and whoever claims them matches it.
inline constexpr std::int64_t kChannelsRoute = 0;

struct Route {
  std::int64_t id = 0;
  std::string queue, workflow_name;
};

struct Claimed {
  std::string instance_id, workflow_name;
  std::int64_t token = 0;
  int generation = 0, first_generation = 0;
  Status status = Status::running;
  bool fresh = false;        // this session held it last: the copy in memory, if there is one, is the truth
  int crashes = 0;           // workers that died over it since its last commit
  bool left_behind = false;  // seen inbox rows exist
  std::vector<InboxRow> inbox;
  std::vector<HistoryRow> history;  // empty when fresh
  std::string unreadable;           // why its rows cannot be read: park it, and nobody else
  std::int64_t created_us = 0;      // when start_workflow wrote it, microseconds since 1970
};

struct Claim {
  bool over = false;  // the session is gone
  std::vector<Claimed> runs;
  std::vector<std::string> marks;  // low-water mark of each route, for the next claim
  int skipped = 0;                 // instances somebody else had locked: come back
  bool more = false;
  std::int64_t again_us = 0;       // not 0: the rate of a queue lets another begin then
  std::int64_t clock_us = 0;
};

struct CommitItem {  // one run of a batch
  std::string instance_id;
  std::int64_t token = 0;
  std::string note;  // why, when the status is stuck; empty: the output's
  Output output;
};

struct Committed {
  bool accepted = false;
  bool released = false;
  std::vector<InboxRow> inbox;  // what arrived meanwhile, when not released
  std::string unreadable;       // why that cannot be read: park it, and nobody else
  std::int64_t clock_us = 0;
};

struct Beat {
  bool alive = false;
  std::vector<std::string> cancelled;
};

class RunStore {
 public:
  template <class T>
  using Reply = std::function<void(Result<T>)>;

  // version: that of this worker, to which its commits pin what is not pinned; empty: none.
  RunStore(pg::Conn& conn, std::string version) : conn_(conn), version_(std::move(version)) {}

  void start_session(std::int64_t session, const std::string& worker, const std::vector<std::string>& queues,
                     const std::vector<std::string>& workflows, std::chrono::milliseconds timeout,
                     const std::vector<std::int64_t>& former, Reply<std::vector<Route>> reply);
  void heartbeat(std::int64_t session, std::chrono::milliseconds timeout, const std::vector<std::string>& in_flight,
                 Reply<Beat> reply);
  void end_session(std::int64_t session, Reply<void> reply);
  void claim(std::int64_t session, const std::vector<std::int64_t>& routes, const std::vector<std::string>& marks,
             int want, int inbox_limit, Reply<Claim> reply);
  // The answers are in the order of the items.
  void commit(std::int64_t session, const std::vector<const CommitItem*>& items, int inbox_limit,
              Reply<std::vector<Committed>> reply);
  void read_history(const std::string& instance_id, Reply<std::vector<HistoryRow>> reply);
  // Rows of one channel an earlier run left behind, from after_id on.
  void read_seen(std::int64_t session, const CommitItem& lease, const std::string& channel, std::int64_t after_id,
                 int max, Reply<std::vector<InboxRow>> reply);

 private:
  pg::Conn& conn_;
  const std::string version_;
};

// Pure, unit-tested: the JSON of the answers, and the arrays of a batch.
Result<std::vector<InboxRow>> parse_inbox(std::string_view json);
Result<std::vector<HistoryRow>> parse_history(std::string_view json);
pg::Params commit_params(std::int64_t session, const std::vector<const CommitItem*>& items, int inbox_limit,
                         const std::string& version = {});

}  // namespace romancy::resumer
