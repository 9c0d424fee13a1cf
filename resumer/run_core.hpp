// RunCore: the one implementation of Run, and the Host behind the workflow's Context. See run.hpp for what it promises.
//
//   code --Context--> ask / command            (run_host.cpp: what the code does)
//   history, inbox, outcomes --> tell()        (run_core.cpp: what comes in, what the run says to itself, what goes out)
//   told() --> answers an ask, the driver resumes the code   (run_told.cpp)
//
// Replay and life take the same path: a recorded row and a new one are told alike. Only life writes (history_ appends
// when nothing is left to play) and only what is written has effects (pending_).
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "resumer/history.hpp"
#include "resumer/registry.hpp"
#include "resumer/run.hpp"
#include "resumer/run_mailbox.hpp"
#include "romancy/romancy.hpp"

namespace romancy::resumer {

class RunCore final : public Run, private detail::Host {
 public:
  RunCore(const Registry& registry, WorkflowRef workflow, RunInfo info);
  ~RunCore() override;

  void clock(std::int64_t unix_micros) override { clock_ = unix_micros; }
  Result<void> replay(std::span<const HistoryRow> rows) override;
  void left_behind(bool some) override { mailbox_.left_behind(some); }
  Result<void> deliver(std::span<const InboxRow> rows) override;
  Result<void> seen(const std::string& channel, std::span<const InboxRow> rows, bool all) override;
  Result<void> activity_done(const ActivityOutcome& outcome) override;
  Output take() override;
  [[nodiscard]] bool finished() const override { return is_final(status_) || recurred_; }
  [[nodiscard]] std::int64_t last_seq() const override { return history_.last_seq(); }
  [[nodiscard]] bool stoppable(std::int32_t op) const override;
  [[nodiscard]] std::string doing() const override;
  [[nodiscard]] bool awaits(std::int32_t op) const override;
  [[nodiscard]] std::vector<std::int32_t> under_way() const override;
  [[nodiscard]] const History& tape() const { return history_; }

 private:
  enum class Waits { activity, sleep, message, child };
  enum class Phase {
    waiting,    // for a timer or a message
    to_start,   // an activity for the next take()
    under_way,  // taken, its outcome has not come
    pausing,    // a long pause before the next attempt, in the database
    queued,     // a task in the database
    withdrawn,  // that was taken back before anybody had it; the cancellation that did so is about to be told
  };
  struct Open {  // an ask that was opened and not answered
    Waits waits{};
    std::string name;            // activity, channel, the child's workflow, or "sleep"
    detail::Ask* ask = nullptr;  // none: a compensation
    Phase phase = Phase::waiting;
    bool timed = false;     // there is a row of deadlines for it
    bool listed = false;    // and one of the waits of a competing channel
    bool asked_to_stop = false;  // queued: the database knows that the workflow is being cancelled
    bool may_run = false;   // to_start, but a worker that died may have started it
    int attempt = 1;
    int told_attempt = 1;   // as far as history knows: short retries are not recorded
    std::string input{};
    std::chrono::milliseconds delay{0};
    std::int64_t first_us = 0;      // when the first attempt was handed out, by the database's clock; 0: not yet
    bool first_recorded = false;    // history says so: it survives this process
    std::string last_failure{};     // what the last attempt that is recorded or made here failed with
  };
  using Opens = std::map<std::int32_t, Open>;
  struct Compensation {
    std::int32_t op;
    ActivityRef activity;
    std::string input;
    std::string failure{};  // JSON: it failed for good
  };
  struct Channel {  // one this instance subscribed to, as of now
    std::int32_t op = 0;
    bool competing = false;
    std::string refused{};  // why it could not
  };
  struct Child {
    std::string workflow, id;
    bool follows = true;
    std::int32_t awaited_by = 0;           // the operation of the ask that waits for its end; 0: none
    std::optional<detail::Answer> ended{};
  };
  struct EndRequest {  // somebody, or a limit, wants the workflow to stop
    std::optional<std::int64_t> inbox_id;
    std::string data;  // JSON: {"reason"} and perhaps {"type"}
    bool expiry = false;
  };

  // run_core.cpp: what comes in, and what goes out
  Result<void> outcome_of_call() const;
  [[nodiscard]] bool durable_before_told(const HistoryRow& row) const;
  bool match(const HistoryRow& row);  // does a recorded event answer what the code waits for?
  void settle();  // what the run can tell itself, until there is nothing
  bool settle_one();
  [[nodiscard]] bool busy() const;  // an activity is (or may be) under way that a cancel must wait for
  void ask_to_end(EndRequest request);
  void attempt_failed(std::int32_t op, Open& open, const ActivityOutcome& outcome);
  [[nodiscard]] bool too_late(const Open& open) const;  // max_duration is over: no attempt begins any more
  Open* find(std::int32_t op, Waits waits);

  // run_told.cpp: being told
  void tell(HistoryKind kind, std::int32_t op, std::string_view name, const std::string& data);  // writes it, then told()
  void told(HistoryKind kind, std::int32_t op, const std::string& data);
  void told_cancel(const std::string& data);
  void told_refused(std::int32_t op, const std::string& data);
  [[nodiscard]] detail::Answer refusal(const std::string& channel) const;
  void answer(std::int32_t op, detail::Answer answer);
  void drive();
  void over(std::int32_t op, const Open& open);
  void leave(std::int32_t op, const Open& open);
  void told_child(std::int32_t op, detail::Answer ended);

  // run_end.cpp: the end of the workflow, and its compensations
  void body_ended();
  void body_abandoned();
  void drop_held();
  void next_compensation();
  void compensated(const detail::Answer& answer);
  void told_decision(const std::string& data);
  void end_compensated();
  void finish(HistoryKind kind, std::string data);
  [[nodiscard]] std::string note() const;

  // run_host.cpp: Host
  std::int32_t next_op() override { return ++last_op_; }
  void open_activity(detail::Ask& ask, const ActivityRef& activity, std::string input) override;
  void open_sleep(detail::Ask& ask, std::optional<std::chrono::microseconds> after,
                  std::optional<std::int64_t> at_micros) override;
  void open_receive(detail::Ask& ask, const std::string& channel, std::optional<std::chrono::microseconds> within,
                    bool subscribe) override;
  void open_child(detail::Ask& ask, detail::NewInstance child) override;
  void open_child_end(detail::Ask& ask, std::int32_t child) override;
  void withdraw(std::int32_t op) noexcept override;
  void strike() override;
  void subscribe(std::string_view channel, bool on, bool competing) override;
  void join(std::string_view group, bool on) override;
  void publish(detail::Publication publication) override;
  void send_event(std::string_view type, std::string_view source, std::string data, std::string content_type) override;
  Started start_child(detail::NewInstance child) override;
  std::string start_workflow(detail::NewInstance instance) override;
  void cancel_workflow(std::string_view instance_id, std::string_view reason) override;
  void set_status(std::string value) override;
  bool patched(std::string_view id) override;
  void deprecate_patch(std::string_view id) override;
  void compensate_with(const ActivityRef& activity, std::string input) override;
  void forget_compensations() override;
  [[noreturn]] void recur(std::string input) override;
  std::int64_t now_micros() override;
  std::string uuid() override;
  std::uint64_t random() override;
  std::string side_effect(std::string_view name, const std::function<std::string()>& make) override;
  void log(int level, std::string_view text, const std::string& fields) override;
  [[nodiscard]] bool replaying() const noexcept override { return in_replay_; }
  [[nodiscard]] bool cancelled() const noexcept override { return cancel_requested_; }
  [[nodiscard]] const std::string& instance_id() const noexcept override { return info_.instance_id; }
  [[nodiscard]] const std::string& workflow_name() const noexcept override { return info_.workflow_name; }
  [[nodiscard]] int generation() const noexcept override {
    return info_.generation - info_.first_generation;
  }
  [[nodiscard]] std::int64_t history_length() const noexcept override { return history_.last_seq(); }
  detail::Driver& driver() override { return driver_; }
  bool refused(std::string_view call) const;  // the code is being destroyed
  bool marked(std::string_view id);
  void need_room(std::int32_t op) const;  // throws when its history is full
  History::Command command(HistoryKind kind, std::int32_t op, std::string_view name, std::string data);
  bool cancelled_here(detail::Ask& ask);
  void await_activity(std::int32_t op, detail::Ask* ask, const ActivityRef& activity, std::string input);
  void begin_child(std::int32_t op, detail::NewInstance child, std::int32_t awaited_by);
  void name_instance(std::int32_t op, detail::NewInstance& instance, const char* call) const;
  // A loop that catches everything around its waits would never come back: so often it may go on after it was told one
  // thing. It has compensations and an end like any other that failed.
  static constexpr int kMostRefusals = 200'000;
  int refusals_ = 0;  // waits that were refused since the last event, because their scope is cancelled

  const Registry& registry_;
  const WorkflowRef workflow_;
  const RunInfo info_;
  Context context_{*this};
  History history_;
  Mailbox mailbox_;
  Opens opens_;
  Output pending_;
  Status status_ = Status::running;
  std::int64_t clock_ = 0;
  std::int32_t last_op_ = 0;
  bool began_ = false;
  bool dying_ = false;
  bool in_replay_ = false;  // what the code does now was committed before
  bool rebuilding_ = false; // history is told: some code has been here before, with effects that history need not show
  bool cautious_ = false;   // its last worker may have started activities that history does not show
  bool cancel_requested_ = false;
  std::string cancel_type_;                  // why it ends as failed and not as cancelled; empty: it does not
  std::set<std::int64_t> recovered_;         // inbox ids of recover rows, kept until the run makes progress
  std::vector<EndRequest> held_;             // wait for an activity: a cancellation, an expiry; the first will be told
  std::map<std::string, Channel> channels_;
  std::map<std::string, bool, std::less<>> patches_;  // what patched() answered
  std::map<std::int32_t, Child> children_;   // of this generation, by the operation that started them
  std::vector<Compensation> compensations_;  // to run, the last one first
  std::optional<Compensation> undoing_;      // the one under way
  bool undecided_ = false;                   // compensations failed for good: somebody must say what shall be
  bool recurred_ = false;
  HistoryKind end_kind_ = HistoryKind::completed;  // failed or cancelled, while compensations run
  std::string end_type_, end_message_;
  std::vector<Compensation> uncompensated_;  // failed for good, in the order in which they ran
  detail::Driver driver_;
  std::shared_ptr<detail::Scope> top_ = std::make_shared<detail::Scope>();  // before the code that runs in it
  Task<std::string> body_;
};

}  // namespace romancy::resumer
