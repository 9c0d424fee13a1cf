// World: what is behind a romancy::testing::Environment: instances in memory, one clock, and all that lies between them.
//
// The clock stands still while anything can be done. Then it jumps to what is due next: first what the test itself has
// planned for that moment (and what mocks bring), then attempts that end, then deadlines. So a run is the same every time.
//
// Between instances: messages find direct targets, subscribers, members of groups, or on a competing channel the oldest wait;
// a child's end finds its parent; a parent's end its children; tasks find whoever carries them out. As sql/engine has it.
#pragma once
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "resumer/memory_instance.hpp"
#include "romancy/testing.hpp"

namespace romancy::testing {

class World;

// One instance: its activities are attempts that begin and end by the world's clock.
class Live final : public resumer::MemoryInstance {
 public:
  Live(World& world, std::string parent, std::int32_t op, int parents_generation, bool follows);
  ~Live() override { evict(); }

  std::string parent;  // whose child it is; empty: nobody's
  std::int32_t parents_op = 0;
  int parents_generation = 0;
  bool follows = false;

  [[nodiscard]] std::optional<std::int64_t> next_due();   // of an attempt
  bool end_hanging(const std::string& activity, const AttemptResult& result);
  [[nodiscard]] const resumer::Registry& registry() const override;

 private:
  struct Running {
    resumer::ActivityStart start;
    std::int64_t begins_us = 0;
    std::optional<std::int64_t> ends_us{};   // none: not begun, or it hangs and has no time-out
    bool begun = false, hangs = false;
    AttemptResult result{};
  };
  void begin(const resumer::ActivityStart& start) override;
  std::optional<Ended> next_ended(bool another) override;
  [[nodiscard]] bool any_ended() const override;
  void stop(std::int32_t op) override;
  void lost() override { running_.clear(); }
  bool may_subscribe(const resumer::SubscriptionChange& change) override;
  void returned(const resumer::InboxRow& row) override;
  void committed(const resumer::Output& output) override;
  void death() override;
  void wrong(const std::string& what) const override;
  void run_attempt(Running& one);
  [[nodiscard]] bool stops(const Running& one) const;
  [[nodiscard]] std::optional<std::int64_t> due(const Running& one) const;

  World& world_;
  std::list<Running> running_;
};

class World final : public detail::Engine {
 public:
  World(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities, const Options& options);

  void at(std::chrono::microseconds since_start, std::function<void()> action) override;
  std::string start(const std::string& workflow, const std::string& input, const std::string& id) override;
  void send(const std::string& id, const std::string& channel, const std::string& data, const std::string& metadata) override;
  void publish(const std::string& channel, const std::string& data, const std::string& metadata,
               const std::optional<std::string>& group) override;
  void cancel(const std::string& id, const std::string& reason) override;
  void decide(const std::string& id, bool retry) override;
  void end_activity(const std::string& name, const AttemptResult& result) override;
  void end_child(const std::string& workflow, const AttemptResult& result) override;
  std::shared_ptr<detail::MockScript> mock_activity(const ActivityRef& activity) override;
  std::shared_ptr<detail::MockScript> mock_workflow(const std::string& name) override;
  void run(std::optional<std::chrono::microseconds> for_so_long) override;
  void deploy(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) override;
  void die_at(int point) override { die_at_ = point; }
  [[nodiscard]] bool died() const override { return died_; }
  [[nodiscard]] std::chrono::microseconds elapsed() const override { return std::chrono::microseconds(clock_us - starts_us_); }
  [[nodiscard]] std::string status(const std::string& id) const override;
  [[nodiscard]] std::string output(const std::string& id) const override;
  [[nodiscard]] ErrorInfo error(const std::string& id) const override;
  [[nodiscard]] std::string progress(const std::string& id) const override;
  [[nodiscard]] std::string waits_for(const std::string& id) const override;
  [[nodiscard]] History history(const std::string& id) const override;
  [[nodiscard]] const std::vector<Sent>& events() const override { return events_; }
  [[nodiscard]] const std::vector<Published>& published() const override { return published_; }
  [[nodiscard]] const std::vector<Started>& started() const override { return started_; }
  [[nodiscard]] const std::vector<Call>& attempts() const override { return attempts_; }

  // ---- for its instances ----
  std::int64_t clock_us;
  [[nodiscard]] const resumer::Registry& registry() const { return *registry_; }
  struct Outcome {
    AttemptResult result{};
    std::optional<std::chrono::microseconds> takes{};  // none: it hangs
  };
  // Carries out an attempt, as its mock says or by calling it. Throws Failure: nobody can.
  Outcome attempt(const std::string& instance_id, const std::string& name, const std::string& input, int number,
                  const std::string& key);
  void committed(Live& by, const resumer::Output& output);
  bool may_subscribe(Live& by, const resumer::SubscriptionChange& change);
  void returned(const resumer::InboxRow& row);
  void everybody_dies();

 private:
  struct Queued {
    std::int64_t id;
    std::string data, metadata;
  };
  struct Channel {  // a competing one
    std::deque<Queued> queue;
    std::deque<std::pair<Live*, std::int32_t>> waits;  // some are over
  };
  struct Outside {  // a child that is not run here
    std::string workflow, parent;
    std::int32_t op = 0;
    int generation = 0;  // the parent's
    bool follows = true;
    bool by_hand = false;  // it does not end by itself
  };

  Live& the(const std::string& id);
  const Live& the(const std::string& id) const;
  Live* active(const std::string& id);
  Live& make(const std::string& id, const std::string& workflow, const std::string& input, const std::string& parent,
             std::int32_t op, int generation, bool follows);
  void start_other(Live& by, const resumer::ChildStart& start, int generation);
  void start_outside(Live& by, const resumer::ChildStart& start, int generation);
  void end_outside(const std::string& id, AttemptResult result, const std::string& how);
  void tell_parent(const std::string& parent, std::int32_t op, int generation, const AttemptResult& result, const std::string& how);
  void ended(Live& gone);
  void cancel_other(const std::string& id, const std::string& reason);
  void stop_child(const Live& by, std::int32_t op, int generation);
  void post(const std::string& channel, const std::string& data, const std::string& metadata);
  bool match();  // some message has met a wait
  [[nodiscard]] bool has_subscriber(const std::string& channel) const;
  void carry_out(const std::string& id, int generation, std::int32_t op, int number, std::int64_t first_us);
  void task_over(const std::string& id, int generation, std::int32_t op, int number, std::int64_t first_us, const AttemptResult& result);
  [[nodiscard]] const ActivityRef* known(const std::string& activity) const;  // mocked or registered
  bool stop_hanging(Live& one);
  void settle();
  [[nodiscard]] std::string why_not(const Live& one) const;
  [[nodiscard]] std::string waits_of(const Live& one) const;
  void rebuild_registry();
  void later(std::int64_t when_us, std::function<void()> action) { agenda_.emplace(std::pair(when_us, ++planned_), std::move(action)); }

  const Options options_;
  std::int64_t starts_us_;
  std::vector<WorkflowRef> workflows_;
  std::vector<ActivityRef> activities_;
  std::unique_ptr<resumer::Registry> registry_;  // before the instances
  struct Mocked {
    std::optional<ActivityRef> activity;
    std::shared_ptr<detail::MockScript> script;
  };
  std::map<std::string, Mocked> mocked_activities_;
  std::map<std::string, std::shared_ptr<detail::MockScript>> mocked_workflows_;
  std::map<std::string, std::unique_ptr<Live>> instances_;
  std::vector<Live*> order_;  // of their starts
  std::map<std::string, Outside> outside_;
  std::set<std::string> ids_;  // every instance there ever was
  std::set<std::tuple<std::string, int, std::int32_t>> hanging_;  // queued activities: instance, generation, operation
  std::map<std::string, Channel> competing_;
  std::map<std::pair<std::int64_t, int>, std::function<void()>> agenda_;
  int planned_ = 0, points_ = 0;
  std::int64_t last_message_ = 0;
  std::optional<int> die_at_;
  bool died_ = false;
  std::vector<Sent> events_;
  std::vector<Published> published_;
  std::vector<Started> started_;
  std::vector<Call> attempts_;
  std::map<std::string, std::optional<std::string>> details_;  // of queued activities, by key
};

}  // namespace romancy::testing
