// A sequencer alone, on CAF's deterministic scheduler and virtual clock. The
// stage, the PLE server and the clients are stand-ins that answer when they are
// told to, and note what they were sent, in which order.
#ifndef LAPIDARY_TESTS_ACTORS_SEQUENCER_FIXTURE_H_
#define LAPIDARY_TESTS_ACTORS_SEQUENCER_FIXTURE_H_

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actors/directory.h"
#include "actors/sequencer.h"
#include "caf/all.hpp"
#include "caf/scheduler/test_coordinator.hpp"
#include "gtest/gtest.h"

namespace lapidary {

inline constexpr int64_t kLayers = 2;
inline constexpr int64_t kWidth = 4;
inline constexpr int32_t kBadRow = 666;  // its PLE row is damaged
inline constexpr int32_t kEos = 1;

struct TestingConfig : caf::actor_system_config {
  TestingConfig() { set("scheduler.policy", caf::atom("testing")); }
};

// What the stand-ins have seen, in the order of arrival.
struct Seen {
  std::vector<Step> steps;
  std::vector<PleRead> reads;
  std::vector<std::string> stage_log;  // "step 1", "release 7"
  std::deque<caf::typed_response_promise<StepResult>> unanswered;
  // Reads of these ids hang, until somebody answers them.
  std::set<int32_t> hanging_rows;
  std::deque<caf::typed_response_promise<PleRows>> hanging;
  bool answer_steps = true;
  int32_t next_token = 10;                            // that the stage draws
  std::map<SequenceId, std::vector<int32_t>> tokens;  // that clients got
  std::map<SequenceId, Ended> ended;
  std::map<SequenceId, absl::Status> accepted;
  std::map<SequenceId, int64_t> retry_after_ns;
  std::vector<SequenceId> end_order;
};

// Such as the PLE server answers for `count` ids.
kernels::Tensor RowsOfPle(int64_t count);

// What a stage would answer that draws `seen.next_token` for whoever samples.
StepResult Answer(Seen& seen, const Step& step);
// The same of one whose decode steps take 60 ms, with 1 ms for each row of a
// prompt (of 2 rows or more).
StepResult TimedAnswer(Seen& seen, const Step& step);

// Answers the oldest step that waits with the StepResult that it is sent.
using FakeStageActor = StageActor::extend<caf::reacts_to<StepResult>>;

FakeStageActor::behavior_type FakeStage(FakeStageActor::pointer self,
                                        std::shared_ptr<Seen> seen);

// Answers the read that hangs for longest with the PleRows that it is sent.
using FakePleActor = PleServerActor::extend<caf::reacts_to<PleRows>>;

FakePleActor::behavior_type FakePleServer(FakePleActor::pointer self,
                                          std::shared_ptr<Seen> seen);

using FakeClientActor =
    ClientActor::extend<caf::reacts_to<Submit>, caf::reacts_to<Cancel>>;

FakeClientActor::behavior_type FakeClient(FakeClientActor::pointer self,
                                          SequencerActor sequencer,
                                          std::shared_ptr<Seen> seen);

class SequencerTest : public testing::Test {
 protected:
  SequencerTest() {
    config_.directory = directory_;
    config_.layers = {0, kLayers};
    config_.kv_layout.kv_width = 4;
    config_.kv_layout.layers = {{0, 0}};  // one page for 64 positions
    config_.batch.max_rows = 16;
    config_.max_running = 5;
    config_.max_queued = 3;
    config_.log = [](absl::string_view) {};
  }

  ~SequencerTest() override {
    caf::anon_send_exit(sequencer_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(client_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(directory_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(stage_, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(ple_, caf::exit_reason::user_shutdown);
    seen_->unanswered.clear();
    seen_->hanging.clear();
    sched_.run();
  }

  void Start() {
    sequencer_ = system_.spawn(Sequencer, config_);
    client_ = system_.spawn(FakeClient, sequencer_, seen_);
    caf::anon_send(sequencer_, lapidary::Start{});
    StageGauges gauges;
    gauges.pages_total = 100;
    caf::anon_send(directory_, RoleEvent{"stage", true, 1, "", gauges},
                   caf::actor_cast<caf::strong_actor_ptr>(stage_));
    caf::anon_send(directory_, RoleEvent{"ple_server", true, 1, "", {}},
                   caf::actor_cast<caf::strong_actor_ptr>(ple_));
    sched_.run();
  }

  // Holds back the stage's answers from now on.
  void HoldSteps() { seen_->answer_steps = false; }
  // The read that hangs for longest comes back, with `rows` rows.
  void AnswerHangingRead(int64_t rows) {
    ASSERT_FALSE(seen_->hanging.empty());
    caf::anon_send(ple_, PleRows{absl::OkStatus(), RowsOfPle(rows)});
    sched_.run();
  }
  void AnswerStepWith(const StepResult& result) {
    caf::anon_send(stage_, result);
    sched_.run();
  }
  // Answers the oldest step that waits.
  void AnswerStep() {
    ASSERT_FALSE(seen_->unanswered.empty());
    const Step& step =
        seen_->steps[seen_->steps.size() - seen_->unanswered.size()];
    AnswerStepWith(lapidary::Answer(*seen_, step));
  }

  // The newest, with what it took.
  void AnswerTimedStep() {
    AnswerStepWith(TimedAnswer(*seen_, seen_->steps.back()));
  }

  SequencerStatus Status() {
    caf::scoped_actor self{system_};
    self->send(sequencer_, StatusQuery{});
    sched_.run();
    SequencerStatus status;
    self->receive([&](const SequencerStatus& answer) { status = answer; });
    return status;
  }

  static Submit Request(SequenceId id, int prompt, int max_tokens) {
    Submit submit;
    submit.sequence = id;
    submit.tokens.assign(prompt, 50 + static_cast<int32_t>(id));
    submit.max_tokens = max_tokens;
    submit.eos_ids = {kEos};
    return submit;
  }

  void Send(const Submit& submit) { caf::anon_send(client_, submit); }
  void SendAndRun(const Submit& submit) {
    Send(submit);
    sched_.run();
  }

  // Rows of the step's sequences, in its order.
  static std::map<SequenceId, size_t> RowsOf(const Step& step) {
    std::map<SequenceId, size_t> rows;
    for (const StepRows& one : step.sequences) {
      rows[one.sequence] = one.token_ids.size();
    }
    return rows;
  }

  TestingConfig system_config_;
  caf::actor_system system_{system_config_};
  caf::scheduler::test_coordinator& sched_ =
      dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  std::shared_ptr<Seen> seen_ = std::make_shared<Seen>();
  DirectoryActor directory_ = system_.spawn(Directory);
  FakeStageActor stage_ = system_.spawn(FakeStage, seen_);
  FakePleActor ple_ = system_.spawn(FakePleServer, seen_);
  SequencerConfig config_;
  SequencerActor sequencer_;
  FakeClientActor client_;
};

using RowMap = std::map<SequenceId, size_t>;

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_SEQUENCER_FIXTURE_H_
