// The sequencer alone, on CAF's deterministic scheduler and virtual clock: what
// it sends, to whom, and in which order. The stage, the PLE server, the
// directory and the clients are stand-ins that answer when they are told to.
#include "actors/sequencer.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/directory.h"
#include "caf/all.hpp"
#include "caf/scheduler/test_coordinator.hpp"
#include "gtest/gtest.h"

namespace lapidary {
namespace {

constexpr int64_t kLayers = 2;
constexpr int64_t kWidth = 4;
constexpr int32_t kBadRow = 666;  // its PLE row is damaged
constexpr int32_t kEos = 1;

struct TestingConfig : caf::actor_system_config {
  TestingConfig() { set("scheduler.policy", caf::atom("testing")); }
};

kernels::Tensor Rows(int64_t count) {
  auto buffer = kernels::AlignedBuffer::Make(count * kLayers * kWidth * 2);
  return kernels::Tensor(kernels::DType::kBf16, {count, kLayers, kWidth},
                         buffer);
}

// What the stand-ins have seen, in the order of arrival.
struct Seen {
  std::vector<Step> steps;
  std::vector<PleRead> reads;
  std::vector<std::string> stage_log;  // "step 1", "release 7"
  std::deque<caf::typed_response_promise<StepResult>> unanswered;
  bool answer_steps = true;
  int32_t next_token = 10;                            // that the stage draws
  std::map<SequenceId, std::vector<int32_t>> tokens;  // that clients got
  std::map<SequenceId, Ended> ended;
  std::map<SequenceId, absl::Status> accepted;
  std::vector<SequenceId> end_order;
};

StepResult Answer(Seen& seen, const Step& step) {
  StepResult result;
  result.number = step.number;
  result.compute_ns = 1000;
  result.gauges.pages_total = 100;
  for (const StepRows& rows : step.sequences) {
    StepRowsResult& one = result.sequences.emplace_back();
    one.sequence = rows.sequence;
    if (rows.sample) one.sampled = TokenResult{seen.next_token, {}, {}};
    for (int32_t target : rows.targets) {
      one.scored.push_back(TokenResult{target, -1.0f, {}});
    }
  }
  return result;
}

// Answers the oldest step that waits with the StepResult that it is sent.
using FakeStageActor = StageActor::extend<caf::reacts_to<StepResult>>;

FakeStageActor::behavior_type FakeStage(FakeStageActor::pointer self,
                                        std::shared_ptr<Seen> seen) {
  return {
      [=](const StepResult& result) {
        seen->unanswered.front().deliver(result);
        seen->unanswered.pop_front();
      },
      [](const Start&) { return Started{}; },
      [=](const Step& step) -> caf::result<StepResult> {
        seen->steps.push_back(step);
        seen->stage_log.push_back("step");
        if (seen->answer_steps) return Answer(*seen, step);
        auto promise = self->make_response_promise<StepResult>();
        seen->unanswered.push_back(promise);
        return promise;
      },
      [=](const Release& release) {
        for (SequenceId id : release.sequences) {
          seen->stage_log.push_back("release " + std::to_string(id));
        }
        StageGauges gauges;
        gauges.pages_total = 100;
        return gauges;
      },
  };
}

PleServerActor::behavior_type FakePleServer(PleServerActor::pointer,
                                            std::shared_ptr<Seen> seen) {
  return {
      [](const Start&) { return Started{}; },
      [=](const PleRead& read) {
        seen->reads.push_back(read);
        for (int32_t id : read.ids) {
          if (id == kBadRow) {
            return PleRows{absl::DataLossError("row 666 is damaged"), {}};
          }
        }
        return PleRows{absl::OkStatus(), Rows(read.ids.size())};
      },
      [](const StatusQuery&) { return PleStatus{}; },
  };
}

using FakeClientActor =
    ClientActor::extend<caf::reacts_to<Submit>, caf::reacts_to<Cancel>>;

FakeClientActor::behavior_type FakeClient(FakeClientActor::pointer self,
                                          SequencerActor sequencer,
                                          std::shared_ptr<Seen> seen) {
  return {
      [=](const Progress& progress) {
        for (const TokenResult& token : progress.tokens) {
          seen->tokens[progress.sequence].push_back(token.id);
        }
      },
      [=](const Ended& ended) {
        ASSERT_EQ(seen->ended.count(ended.sequence), 0u);  // once only
        seen->ended[ended.sequence] = ended;
        seen->end_order.push_back(ended.sequence);
      },
      [=](const Submit& submit) {
        self->request(sequencer, std::chrono::seconds(5), submit)
            .then([seen, id = submit.sequence](const Accepted& accepted) {
              seen->accepted[id] = accepted.status;
            });
      },
      [=](const Cancel& cancel) { self->send(sequencer, cancel); },
  };
}

class SequencerTest : public testing::Test {
 protected:
  SequencerTest() {
    config_.directory = directory_;
    config_.layers = {0, kLayers};
    config_.kv_layout.kv_width = 4;
    config_.kv_layout.layers = {{0, 0}};  // one page for 64 positions
    config_.batch = {16, 8};
    config_.max_running = 4;
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
  PleServerActor ple_ = system_.spawn(FakePleServer, seen_);
  SequencerConfig config_;
  SequencerActor sequencer_;
  FakeClientActor client_;
};

using RowMap = std::map<SequenceId, size_t>;

TEST_F(SequencerTest, APromptRunsInChunksThenOneRowAToken) {
  Start();
  SendAndRun(Request(1, 40, 3));
  std::vector<size_t> rows;
  std::vector<int32_t> positions;
  for (const Step& step : seen_->steps) {
    ASSERT_EQ(step.sequences.size(), 1u);
    rows.push_back(step.sequences[0].token_ids.size());
    positions.push_back(step.sequences[0].first_position);
    EXPECT_EQ(step.sequences[0].ple_rows.dim(0),
              static_cast<int64_t>(rows.back()));
    EXPECT_EQ(step.sequences[0].start.has_value(), positions.back() == 0);
  }
  EXPECT_EQ(rows, std::vector<size_t>({16, 16, 8, 1, 1}));
  EXPECT_EQ(positions, std::vector<int32_t>({0, 16, 32, 40, 41}));
  EXPECT_FALSE(seen_->steps[1].sequences[0].sample);
  EXPECT_TRUE(seen_->steps[2].sequences[0].sample);
  EXPECT_EQ(seen_->tokens[1], std::vector<int32_t>({10, 10, 10}));
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kMaxTokens);
  EXPECT_EQ(seen_->ended[1].prompt_tokens, 40);
  EXPECT_EQ(seen_->ended[1].completion_tokens, 3);
  EXPECT_EQ(seen_->stage_log.back(), "release 1");
}

TEST_F(SequencerTest, APromptsRowsAreOneReadAndATokensRowFollowsTheToken) {
  Start();
  SendAndRun(Request(1, 40, 3));
  ASSERT_EQ(seen_->reads.size(), 3u);
  EXPECT_EQ(seen_->reads[0].ids.size(), 40u);
  EXPECT_EQ(seen_->reads[1].ids, std::vector<int32_t>({10}));
  EXPECT_EQ(seen_->reads[2].ids, std::vector<int32_t>({10}));
}

TEST_F(SequencerTest, LongPromptsAreReadInWindowsAheadOfTheirRows) {
  config_.max_window = 16;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 100, 1));
  // One window in use and one ready.
  ASSERT_EQ(seen_->reads.size(), 2u);
  EXPECT_EQ(seen_->reads[0].ids.size(), 16u);
  AnswerStep();
  EXPECT_EQ(seen_->reads.size(), 3u);
}

TEST_F(SequencerTest, AllDecodingSequencesShareOneRead) {
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2, 3}) Send(Request(id, 4, 5));
  sched_.run();
  AnswerStep();  // whoever came first
  while (seen_->steps.back().sequences.size() < 3) AnswerStep();
  const size_t before = seen_->reads.size();
  AnswerStep();
  ASSERT_EQ(seen_->reads.size(), before + 1);
  EXPECT_EQ(seen_->reads.back().ids.size(), 3u);
}

TEST_F(SequencerTest, DecodingGoesOnBesideALongPrompt) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  AnswerStep();  // 1 decodes from now on
  Send(Request(2, 40, 20));
  sched_.run();
  AnswerStep();
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{1, 1}, {2, 8}}));
  AnswerStep();
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{1, 1}, {2, 8}}));
}

TEST_F(SequencerTest, PromptsShareAStepEqually) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 100, 5));
  Send(Request(2, 100, 5));
  sched_.run();
  AnswerStep();
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{1, 8}, {2, 8}}));
}

TEST_F(SequencerTest, EosEndsTheAnswer) {
  Start();
  seen_->next_token = kEos;
  SendAndRun(Request(1, 4, 20));
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kEos);
  EXPECT_EQ(seen_->ended[1].completion_tokens, 1);
}

TEST_F(SequencerTest, QueueIsBoundedAndServedInOrder) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2, 3, 4, 5, 6}) SendAndRun(Request(id, 4, 1));
  for (SequenceId id : {1, 2, 3, 4}) {
    EXPECT_TRUE(seen_->accepted[id].ok()) << id;
  }
  for (SequenceId id : {5, 6}) {
    EXPECT_EQ(seen_->accepted[id].code(), absl::StatusCode::kResourceExhausted);
  }
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->end_order, std::vector<SequenceId>({1, 2, 3, 4}));
}

TEST_F(SequencerTest, WaitsForPagesInOrder) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 60 * 64, 60));  // 61 pages of 100
  SendAndRun(Request(2, 60 * 64, 60));  // must wait
  SendAndRun(Request(3, 4, 1));         // behind it, although it would fit
  EXPECT_EQ(RowsOf(seen_->steps.back()).count(3), 0u);
  caf::anon_send(client_, Cancel{1, false});
  sched_.run();
  while (seen_->ended.count(3) == 0) AnswerStep();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kCancelled);
  // The pages were given back before the step that needs them.
  const auto release =
      std::find(seen_->stage_log.begin(), seen_->stage_log.end(), "release 1");
  EXPECT_EQ(std::count(seen_->stage_log.begin(), release, "step"), 1);
}

TEST_F(SequencerTest, NeverFitsIsRefusedWithTheNumbers) {
  Start();
  SendAndRun(Request(1, 101 * 64, 1));
  EXPECT_EQ(seen_->accepted[1].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(seen_->accepted[1].message().find("101 pages"),
            absl::string_view::npos)
      << seen_->accepted[1];
}

TEST_F(SequencerTest, CancelEndsAtOnceAndFreesWithTheNextMessage) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  SendAndRun(Request(2, 4, 20));
  caf::anon_send(client_, Cancel{1, false});
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(seen_->stage_log.back(), "release 1");
  AnswerStep();  // of the step that it was in: its token is nobody's
  EXPECT_EQ(seen_->tokens.count(1), 0u);
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{2, 4}}));
}

TEST_F(SequencerTest, CompleteAnswersEndWithTheirStopString) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  AnswerStep();
  caf::anon_send(client_, Cancel{1, true});
  sched_.run();
  EXPECT_TRUE(seen_->ended[1].status.ok());
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kStopString);
}

TEST_F(SequencerTest, DeadlinesEndWaitingAndRunningSequences) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  Submit running = Request(1, 4, 20);
  running.deadline_ns = 2000000000;
  Submit waiting = Request(2, 4, 20);
  waiting.deadline_ns = 1000000000;
  Submit limited = Request(3, 4, 20);
  limited.time_limit_ns = 3000000000;
  for (const Submit& submit : {running, waiting, limited}) SendAndRun(submit);
  sched_.advance_time(std::chrono::milliseconds(999));
  sched_.run();
  EXPECT_TRUE(seen_->ended.empty());
  sched_.advance_time(std::chrono::milliseconds(2));
  sched_.run();
  EXPECT_EQ(seen_->ended.count(2), 1u);
  sched_.advance_time(std::chrono::seconds(1));
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kDeadlineExceeded);
  sched_.advance_time(std::chrono::seconds(1));
  sched_.run();
  EXPECT_EQ(seen_->ended[3].reason, EndReason::kTimeLimit);
  EXPECT_TRUE(seen_->ended[3].status.ok());
}

TEST_F(SequencerTest, ADamagedRowFailsItsOwnSequenceOnly) {
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2}) Send(Request(id, 4, 3));
  sched_.run();
  AnswerStep();
  while (seen_->steps.back().sequences.size() < 2) AnswerStep();
  // The next token of one of them is the damaged one.
  StepResult result = lapidary::Answer(*seen_, seen_->steps.back());
  result.sequences[0].sampled->id = kBadRow;
  const SequenceId bad = result.sequences[0].sequence;
  const SequenceId good = result.sequences[1].sequence;
  AnswerStepWith(result);
  EXPECT_EQ(seen_->ended[bad].status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(seen_->ended[bad].status.message(), "row 666 is damaged");
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->ended[good].reason, EndReason::kMaxTokens);
}

TEST_F(SequencerTest, LostRolesFailWhatRunsAndWaitsAtOnce) {
  for (const std::string role : {"stage", "ple_server"}) {
    SCOPED_TRACE(role);
    seen_->ended.clear();
    if (!sequencer_) {
      config_.max_running = 1;
      Start();
    }
    HoldSteps();
    const SequenceId first = role == "stage" ? 1 : 3;
    SendAndRun(Request(first, 4, 20));
    SendAndRun(Request(first + 1, 4, 20));
    caf::anon_send(directory_, RoleEvent{role, false, 1, "killed", {}},
                   caf::strong_actor_ptr());
    sched_.run();
    ASSERT_EQ(seen_->ended.size(), 2u);
    for (const auto& [id, ended] : seen_->ended) {
      EXPECT_EQ(ended.status.code(), absl::StatusCode::kUnavailable);
      EXPECT_NE(ended.status.message().find(role), absl::string_view::npos);
    }
    SendAndRun(Request(100, 4, 1));
    EXPECT_EQ(seen_->accepted[100].code(), absl::StatusCode::kUnavailable);
    // Back: works again, on the same sequencer.
    seen_->answer_steps = true;
    StageGauges gauges;
    gauges.pages_total = 100;
    caf::anon_send(directory_, RoleEvent{role, true, 2, "", gauges},
                   caf::actor_cast<caf::strong_actor_ptr>(
                       role == "stage" ? caf::actor_cast<caf::actor>(stage_)
                                       : caf::actor_cast<caf::actor>(ple_)));
    sched_.run();
    SendAndRun(Request(first + 50, 4, 1));
    // What was on its way when the role was lost is nobody's any more.
    while (!seen_->unanswered.empty()) AnswerStep();
    EXPECT_TRUE(seen_->tokens[first].empty());
    EXPECT_EQ(seen_->ended[first + 50].reason, EndReason::kMaxTokens);
  }
}

TEST_F(SequencerTest, AStageThatDoesNotAnswerIsTakenForLost) {
  config_.step_timeout = std::chrono::seconds(10);
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  sched_.advance_time(std::chrono::seconds(11));
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(SequencerTest, AClientThatDiesLeavesNothingBehind) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  caf::anon_send_exit(client_, caf::exit_reason::kill);
  sched_.run();
  EXPECT_EQ(seen_->stage_log.back(), "release 1");
}

TEST_F(SequencerTest, ASequencerThatDiesTellsItsClients) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  caf::anon_send_exit(sequencer_, caf::exit_reason::kill);
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(SequencerTest, ScoringAsksForEveryTokenButTheFirst) {
  Start();
  Submit submit;
  submit.sequence = 1;
  submit.task = Task::kScore;
  submit.tokens = {2, 11, 12, 13};
  submit.top_logprobs = 0;
  SendAndRun(submit);
  ASSERT_EQ(seen_->steps.size(), 1u);
  const StepRows& rows = seen_->steps[0].sequences[0];
  EXPECT_EQ(rows.token_ids, std::vector<int32_t>({2, 11, 12}));
  EXPECT_EQ(rows.targets, std::vector<int32_t>({11, 12, 13}));
  EXPECT_FALSE(rows.sample);
  EXPECT_EQ(seen_->tokens[1], std::vector<int32_t>({11, 12, 13}));
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kScored);
}

}  // namespace
}  // namespace lapidary
