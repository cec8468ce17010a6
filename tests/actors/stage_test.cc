// The stage alone, with a real model: what a step may hold, and that a sequence
// that asks for nonsense hurts nobody else.
#include "actors/stage.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "caf/all.hpp"
#include "gtest/gtest.h"
#include "kernels/text/config.h"
#include "storage/packed_model.h"
#include "storage/ple_store.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

class StageTest : public testing::Test {
 protected:
  StageTest() {
    auto hf = SynthFolder(dir_, TinyConfigJson(), 1, kernels::DType::kBf16);
    EXPECT_TRUE(hf.ok()) << hf.status();
    auto packed = PackFolder(dir_, *hf, kernels::DType::kF32);
    EXPECT_TRUE(packed.ok()) << packed.status();
    auto model = PackedModel::Open(*packed, {});
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    auto store = PleStore::Open(model_->ple_folder(), model_->ple_shape(), {});
    EXPECT_TRUE(store.ok()) << store.status();
    ple_ = *std::move(store);
    layers_ = {0, model_->config().text.num_hidden_layers};

    StageConfig config;
    config.model = model_;
    config.layers = layers_;
    config.options.max_rows = 32;
    config.kv_pages = 64;
    stage_ = system_.spawn<caf::detached>(Stage, config);
    const Started started = Ask<Started>(Start{});
    EXPECT_TRUE(started.status.ok()) << started.status;
  }

  ~StageTest() override {
    caf::anon_send_exit(stage_, caf::exit_reason::user_shutdown);
  }

  template <typename Reply, typename Question>
  Reply Ask(Question question) {
    Reply reply;
    self_->request(stage_, std::chrono::seconds(60), std::move(question))
        .receive(
            [&](const Reply& got) { reply = got; },
            [&](caf::error& error) { ADD_FAILURE() << system_.render(error); });
    return reply;
  }

  StepResult Run(std::vector<StepRows> sequences) {
    return Ask<StepResult>(Step{++number_, layers_, std::move(sequences)});
  }

  // Rows of `ids` from `position` on; the first ones start the sequence.
  StepRows Rows(SequenceId id, int32_t position, std::vector<int32_t> ids) {
    StepRows rows;
    rows.sequence = id;
    if (position == 0) {
      rows.start.emplace();
      rows.start->max_positions = 100;
      rows.start->sampling.temperature = 0;
    }
    rows.first_position = position;
    auto ple = ple_->Read(ids, layers_);
    EXPECT_TRUE(ple.ok()) << ple.status();
    rows.ple_rows = *std::move(ple);
    rows.token_ids = std::move(ids);
    rows.is_prompt = true;
    rows.sample = true;
    rows.top_logprobs = 0;
    return rows;
  }

  // Runs `bad` beside a good sequence, which must not notice.
  void ExpectRefused(const StepRows& bad, absl::StatusCode code,
                     const std::string& word) {
    const StepResult alone = Run({Rows(900, 0, {2, 7, 9})});
    Ask<StageGauges>(Release{{900}, false});
    const StepResult result = Run({bad, Rows(901, 0, {2, 7, 9})});
    ASSERT_EQ(result.sequences.size(), 2u);
    EXPECT_EQ(result.sequences[0].status.code(), code)
        << result.sequences[0].status;
    EXPECT_NE(std::string(result.sequences[0].status.message()).find(word),
              std::string::npos)
        << result.sequences[0].status;
    EXPECT_FALSE(result.sequences[0].sampled.has_value());
    ASSERT_TRUE(result.sequences[1].sampled.has_value());
    EXPECT_EQ(result.sequences[1].sampled->id, alone.sequences[0].sampled->id);
    EXPECT_EQ(result.sequences[1].sampled->logprob,
              alone.sequences[0].sampled->logprob);
    EXPECT_EQ(result.gauges.sequences, 1);  // the bad one is forgotten
    EXPECT_EQ(Ask<StageGauges>(Release{{}, true}).pages_in_use, 0);
  }

  TempDir dir_;
  std::shared_ptr<const PackedModel> model_;
  std::unique_ptr<PleStore> ple_;
  kernels::text::LayerRange layers_;
  uint64_t number_ = 0;
  caf::actor_system_config system_config_;
  caf::actor_system system_{system_config_};
  StageActor stage_;
  caf::scoped_actor self_{system_};
};

TEST_F(StageTest, AStepSaysWhereItsTimeWent) {
  const StepResult result = Run({Rows(1, 0, {2, 5, 7})});
  const StageTimes& times = result.times;
  for (int64_t part :
       {times.gemm_ns, times.attention_ns, times.head_ns, times.sampling_ns}) {
    EXPECT_GT(part, 0);
  }
  EXPECT_LE(
      times.gemm_ns + times.attention_ns + times.head_ns + times.sampling_ns,
      result.compute_ns);
  EXPECT_GT(result.gauges.weight_bytes_per_token, 0u);
}

TEST_F(StageTest, ChunksGiveWhatTheWholePromptGives) {
  const std::vector<int32_t> prompt = {2,  5, 17, 200, 31, 8,
                                       99, 4, 4,  120, 63, 250};
  const StepResult whole = Run({Rows(1, 0, prompt)});
  ASSERT_TRUE(whole.sequences[0].status.ok()) << whole.sequences[0].status;
  StepResult last;
  for (size_t at = 0; at < prompt.size(); at += 5) {
    const size_t end = std::min(prompt.size(), at + 5);
    StepRows rows = Rows(2, static_cast<int32_t>(at),
                         {prompt.begin() + at, prompt.begin() + end});
    rows.sample = end == prompt.size();
    last = Run({rows});
    ASSERT_TRUE(last.sequences[0].status.ok()) << last.sequences[0].status;
  }
  EXPECT_EQ(last.sequences[0].sampled->id, whole.sequences[0].sampled->id);
  EXPECT_EQ(last.sequences[0].sampled->logprob,
            whole.sequences[0].sampled->logprob);
}

TEST_F(StageTest, PagesAreTakenAtTheStartAndGivenBack) {
  const StepResult result = Run({Rows(1, 0, {2, 5})});
  EXPECT_GT(result.gauges.pages_in_use, 0);
  EXPECT_EQ(result.gauges.sequences, 1);
  const StageGauges after = Ask<StageGauges>(Release{{1, 77}, false});
  EXPECT_EQ(after.pages_in_use, 0);
  EXPECT_EQ(after.sequences, 0);
}

TEST_F(StageTest, SequencesBeyondThePoolAreRefusedAlone) {
  std::vector<StepRows> all;
  // Four pages each, of 64.
  for (SequenceId id = 1; id <= 17; ++id) all.push_back(Rows(id, 0, {2}));
  const StepResult result = Run(all);
  EXPECT_TRUE(result.sequences.front().status.ok());
  EXPECT_EQ(result.sequences.back().status.code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(result.sequences.front().sampled.has_value());
}

// --- Kept blocks ------------------------------------------------------------

// 70 tokens, of whose first block a later sequence can begin.
std::vector<int32_t> LongPrompt() {
  std::vector<int32_t> prompt;
  for (int i = 0; i < 70; ++i) prompt.push_back(2 + 37 * i % 290);
  return prompt;
}

class KeptBlocksTest : public StageTest {
 protected:
  // Runs LongPrompt() as sequence `id`, which keeps its block as `handle`.
  StepResult RunAndKeep(SequenceId id, BlockHandle handle) {
    const std::vector<int32_t> prompt = LongPrompt();
    StepResult result;
    for (int at = 0; at < 70; at += 32) {
      StepRows rows =
          Rows(id, at,
               {prompt.begin() + at, prompt.begin() + std::min(70, at + 32)});
      rows.sample = at == 64;
      if (at == 32) rows.keep = {{handle, 0, 0}};
      result = Run({rows});
      EXPECT_TRUE(result.sequences[0].status.ok());
      EXPECT_TRUE(result.sequences[0].not_kept.empty());
    }
    return result;
  }

  // The rest of LongPrompt(), behind its block.
  StepRows RowsBehind(SequenceId id, BlockHandle handle) {
    const std::vector<int32_t> prompt = LongPrompt();
    StepRows rows = Rows(id, 0, {prompt.begin() + 64, prompt.end()});
    rows.first_position = 64;
    rows.start->prefix = {handle};
    rows.start->prefix_tokens.assign(prompt.begin(), prompt.begin() + 64);
    return rows;
  }

  void ExpectMissing(const StepRows& rows) {
    const StepResult result = Run({rows});
    EXPECT_EQ(result.sequences[0].status.code(),
              absl::StatusCode::kFailedPrecondition)
        << result.sequences[0].status;
    EXPECT_EQ(result.sequences[0].missing_block, rows.start->prefix.back());
    EXPECT_FALSE(result.sequences[0].sampled.has_value());
  }
};

TEST_F(KeptBlocksTest, ASequenceBeginsWithThem_AsIfItHadRunTheirTokens) {
  const StepResult whole = RunAndKeep(1, 5);
  // They outlive their sequence.
  const StageGauges gauges = Ask<StageGauges>(Release{{1}, false});
  EXPECT_EQ(gauges.pages_in_use, 0);
  EXPECT_GT(gauges.pages_kept, 0);
  for (SequenceId id : {2, 3}) {
    const StepResult result = Run({RowsBehind(id, 5)});
    ASSERT_TRUE(result.sequences[0].sampled.has_value())
        << result.sequences[0].status;
    EXPECT_EQ(result.sequences[0].sampled->id, whole.sequences[0].sampled->id);
    EXPECT_EQ(result.sequences[0].sampled->logprob,
              whole.sequences[0].sampled->logprob);
  }
}

TEST_F(KeptBlocksTest, PenaltiesSeeTheTokensThatWereNotRun) {
  RunAndKeep(1, 5);
  StepRows rows = RowsBehind(2, 5);
  // Raised above all others, a token of the prompt's first block is drawn, and
  // with a penalty another one is.
  const int32_t token = rows.start->prefix_tokens[3];
  ASSERT_EQ(std::count(rows.token_ids.begin(), rows.token_ids.end(), token), 0);
  rows.start->sampling.logit_bias = {{token, 1000.0f}};
  EXPECT_EQ(Run({rows}).sequences[0].sampled->id, token);
  rows.sequence = 3;
  rows.start->sampling.repetition_penalty = 1e6f;
  EXPECT_NE(Run({rows}).sequences[0].sampled->id, token);
}

TEST_F(KeptBlocksTest, OfOtherTokensOrDropped_AreMissing) {
  RunAndKeep(1, 5);
  ExpectMissing(RowsBehind(2, 6));
  StepRows other = RowsBehind(2, 5);
  other.start->prefix_tokens[17] ^= 1;
  ExpectMissing(other);
  Ask<StepResult>(Step{++number_, layers_, {}, {}, {5}});  // its window
  ExpectMissing(RowsBehind(2, 5));
  RunAndKeep(3, 5);  // gets it back
  EXPECT_TRUE(Run({RowsBehind(4, 5)}).sequences[0].status.ok());
  Ask<StepResult>(Step{++number_, layers_, {}, {5}, {}});
  ExpectMissing(RowsBehind(2, 5));
  RunAndKeep(6, 7);
  Ask<StageGauges>(Release{{}, true});
  ExpectMissing(RowsBehind(2, 7));
  EXPECT_EQ(Ask<StageGauges>(Release{{}, true}).pages_kept, 0);
}

TEST_F(KeptBlocksTest, WithoutPagesForThem_AreReported) {
  std::vector<StepRows> all;  // four pages each, of 64
  for (SequenceId id = 1; id <= 15; ++id) all.push_back(Rows(100 + id, 0, {2}));
  Run(all);
  const std::vector<int32_t> prompt = LongPrompt();
  Run({Rows(1, 0, {prompt.begin(), prompt.begin() + 32})});
  StepRows rows = Rows(1, 32, {prompt.begin() + 32, prompt.begin() + 64});
  rows.keep = {{5, 0, 0}};
  const StepResult result = Run({rows});
  EXPECT_TRUE(result.sequences[0].status.ok()) << result.sequences[0].status;
  EXPECT_EQ(result.sequences[0].not_kept, std::vector<BlockHandle>({5}));
  EXPECT_EQ(result.gauges.pages_kept, 0);
}

TEST_F(KeptBlocksTest, ThatCannotBe) {
  StepRows bad = Rows(1, 0, {2, 5});
  bad.keep = {{5, 0, 0}};
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "do not complete");
  bad.keep = {{5, 0, -1}};
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "block -1");
  bad.keep = {{5, 0, 2147483647}};
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "do not complete");
  bad = RowsBehind(1, 5);
  bad.start->prefix_tokens.pop_back();
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "63 tokens");
  bad.start->prefix_tokens.push_back(-7);
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "token id -7");
}

TEST_F(StageTest, TokensAndTargetsOutOfTheVocabulary) {
  StepRows bad = Rows(1, 0, {2, 5});
  bad.token_ids[1] = 320;
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "token id 320");
  bad.token_ids[1] = -1;
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "token id -1");
  bad = Rows(1, 0, {2, 5});
  bad.targets = {5, 320};
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "target 320");
  bad.targets = {5};
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "1 targets");
}

TEST_F(StageTest, PleRowsOfAnotherShape) {
  StepRows bad = Rows(1, 0, {2, 5, 6});
  bad.token_ids.pop_back();
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "PLE rows");
  bad.ple_rows = kernels::Tensor();
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "missing");
  bad = Rows(1, 0, {2});
  bad.ple_rows = kernels::Tensor(kernels::DType::kF32, bad.ple_rows.shape(),
                                 kernels::AlignedBuffer::Make(1 << 16));
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "f32");
}

TEST_F(StageTest, RowsThatDoNotFollow) {
  StepRows bad = Rows(1, 3, {2, 5});
  ExpectRefused(bad, absl::StatusCode::kNotFound, "never started");
  bad = Rows(1, 0, {2, 5});
  bad.first_position = 7;
  ExpectRefused(bad, absl::StatusCode::kOutOfRange, "positions [7, 9)");
  bad.first_position = -2;
  ExpectRefused(bad, absl::StatusCode::kOutOfRange, "positions [-2, 0)");
  bad = Rows(1, 0, {2, 5, 6});
  bad.start->max_positions = 2;
  ExpectRefused(bad, absl::StatusCode::kOutOfRange, "of 2");
  bad.token_ids.clear();
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "no rows");
}

TEST_F(StageTest, StartsThatCannotBe) {
  StepRows bad = Rows(1, 0, {2, 5});
  bad.start->max_positions = 1025;
  ExpectRefused(bad, absl::StatusCode::kOutOfRange, "1025");
  bad.start->max_positions = 0;
  ExpectRefused(bad, absl::StatusCode::kOutOfRange, "0 positions");
  bad = Rows(1, 0, {2, 5});
  bad.start->sampling.top_p = -1;
  ExpectRefused(bad, absl::StatusCode::kInvalidArgument, "top_p");
  Run({Rows(1, 0, {2, 5})});
  ExpectRefused(Rows(1, 0, {2, 5}), absl::StatusCode::kAlreadyExists,
                "started before");
}

TEST_F(StageTest, WholeStepsThatCannotBe) {
  std::vector<StepResult> results;
  results.push_back(Run({Rows(1, 0, {2}), Rows(1, 0, {2})}));
  results.push_back(Run({Rows(1, 0, std::vector<int32_t>(20, 5)),
                         Rows(2, 0, std::vector<int32_t>(13, 5))}));
  results.push_back(Ask<StepResult>(
      Step{9, {0, layers_.last - 1}, {Rows(1, 0, {2}), Rows(2, 0, {2})}}));
  for (const StepResult& result : results) {
    ASSERT_EQ(result.sequences.size(), 2u);
    for (const StepRowsResult& rows : result.sequences) {
      EXPECT_EQ(rows.status.code(), absl::StatusCode::kInvalidArgument);
    }
    EXPECT_EQ(result.gauges.sequences, 0);
    EXPECT_EQ(result.gauges.pages_in_use, 0);
  }
}

}  // namespace
}  // namespace lapidary
