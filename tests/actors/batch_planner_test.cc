#include "actors/batch_planner.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

using Rows = std::vector<int64_t>;

Candidate Decoding() {
  Candidate candidate;
  candidate.decoding = true;
  candidate.ready_rows = 1;
  return candidate;
}

Candidate Prompt(int64_t ready) {
  Candidate candidate;
  candidate.ready_rows = ready;
  return candidate;
}

int64_t Sum(const Rows& rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

// A machine whose decode steps take 60 ms and whose prompt rows take `row_ms`;
// prompts of `widest` rows were seen beside decoding ones.
StepCost Machine(double row_ms, int64_t widest = 512) {
  StepCost cost;
  StepShape shape;
  for (int64_t rows = 1; rows <= 64; rows *= 2) {
    shape.decode_rows = rows;
    cost.Learn(shape, 60000000);
  }
  shape.prompt_rows[0] = widest;
  cost.Learn(shape, 60000000 + static_cast<int64_t>(widest * row_ms * 1e6));
  return cost;
}

BatchLimits Limits(int64_t max_rows = 512, double max_slowdown = 2.5) {
  BatchLimits limits;
  limits.max_rows = max_rows;
  limits.max_slowdown = max_slowdown;
  return limits;
}

// Runs `steps` steps over prompts that never end, and adds up their rows.
Rows Share(std::vector<Candidate> candidates, const BatchLimits& limits,
           const StepCost& cost, int steps) {
  Rows total(candidates.size(), 0);
  for (int step = 0; step < steps; ++step) {
    const Rows rows = PlanStep(candidates, limits, cost);
    for (size_t i = 0; i < rows.size(); ++i) {
      total[i] += rows[i];
      candidates[i].served += rows[i] * candidates[i].row_charge;
    }
  }
  return total;
}

TEST(BatchPlannerTest, ALonePromptFillsTheStep) {
  EXPECT_EQ(PlanStep({Prompt(2000)}, Limits(), StepCost()), Rows({512}));
  EXPECT_EQ(PlanStep({Prompt(2000)}, Limits(), Machine(2)), Rows({512}));
}

TEST(BatchPlannerTest, PromptRowsTakeTheirShareOfTheStepsTime) {
  // 1.5 × 60 ms at 1 ms a row: 90 rows, in whole blocks with the decoding ones.
  const std::vector<Candidate> candidates = {Prompt(2000), Decoding(),
                                             Decoding()};
  EXPECT_EQ(PlanStep(candidates, Limits(), Machine(1)), Rows({78, 1, 1}));
  EXPECT_EQ(PlanStep(candidates, Limits(512, 2), Machine(1)), Rows({46, 1, 1}));
}

TEST(BatchPlannerTest, MorePromptsThanAnswersTakeMoreOfTheStepsTime) {
  const auto prompt_rows = [](int64_t prompts, int64_t answers) {
    std::vector<Candidate> candidates(prompts, Prompt(2000));
    candidates.insert(candidates.end(), answers, Decoding());
    return Sum(PlanStep(candidates, Limits(), Machine(2))) - answers;
  };
  const int64_t one = prompt_rows(1, 4);
  EXPECT_EQ(prompt_rows(4, 4), one);
  // 2.5 · 2 steps' time less one, at 2 ms a row.
  EXPECT_NEAR(prompt_rows(8, 4), (2.5 * 2 - 1) * 60 / 2, kRowBlock);
  EXPECT_EQ(prompt_rows(15, 1), 511);
}

TEST(BatchPlannerTest, CostlyRowsStillMakeProgress) {
  const Rows rows =
      PlanStep({Prompt(2000), Decoding()}, Limits(), Machine(1000));
  EXPECT_GE(rows[0], kFewestPromptRows);
  EXPECT_EQ(Sum(rows) % kRowBlock, 0);
  EXPECT_LE(Sum(rows), 2 * kRowBlock);
}

TEST(BatchPlannerTest, ASlowdownOfOneStillMakesProgress) {
  EXPECT_GE(PlanStep({Prompt(2000), Decoding()}, Limits(512, 1), Machine(1))[0],
            kFewestPromptRows);
}

TEST(BatchPlannerTest, FreeRowsAreTriedInStepsOfTwice) {
  EXPECT_EQ(
      PlanStep({Prompt(2000), Decoding()}, Limits(), Machine(0.001, 40))[0],
      80);
  EXPECT_EQ(
      PlanStep({Prompt(2000), Decoding()}, Limits(), Machine(0.001, 400))[0],
      511);
}

TEST(BatchPlannerTest, AnUnknownDecodeStepIsMeasuredFirst) {
  EXPECT_EQ(PlanStep({Prompt(2000), Decoding()}, Limits(), StepCost()),
            Rows({0, 1}));
}

TEST(BatchPlannerTest, UnknownRowsBeginSmall) {
  StepCost cost;
  StepShape shape;
  shape.decode_rows = 1;
  cost.Learn(shape, 60000000);
  EXPECT_EQ(PlanStep({Prompt(2000), Decoding()}, Limits(), cost),
            Rows({kFirstPromptRows, 1}));
}

TEST(BatchPlannerTest, LaterRowsCostMore) {
  StepCost cost = Machine(1);
  StepShape shape;
  shape.decode_rows = 1;
  shape.prompt_rows[0] = 100;
  for (int position = 0; position < 16000; position += 500) {
    shape.context = position;
    cost.Learn(shape, 60000000 + (1000000 + position * 100) * 100);
  }
  Candidate late = Prompt(2000);
  late.position = 16000;
  const int64_t early = PlanStep({Prompt(2000), Decoding()}, Limits(), cost)[0];
  EXPECT_LT(PlanStep({late, Decoding()}, Limits(), cost)[0], early / 2 + 16);
}

TEST(BatchPlannerTest, TheRowLimitHoldsForAllRows) {
  EXPECT_EQ(PlanStep({Prompt(2000), Decoding(), Decoding()}, Limits(48),
                     Machine(0.01)),
            Rows({46, 1, 1}));
}

TEST(BatchPlannerTest, PromptsShareAndShortOnesLeaveTheirRoom) {
  const Rows rows =
      PlanStep({Prompt(2000), Prompt(10), Prompt(2000)}, Limits(), StepCost());
  EXPECT_EQ(rows[1], 10);
  EXPECT_EQ(Sum(rows), 512);
  EXPECT_LE(std::abs(rows[0] - rows[2]), kRowBlock);
}

TEST(BatchPlannerTest, MorePromptsThanRoomAllGetTheirTurn) {
  const std::vector<Candidate> candidates(10, Prompt(1000));
  EXPECT_EQ(Share(candidates, Limits(48), StepCost(), 10), Rows(10, 48));
}

TEST(BatchPlannerTest, RowsGoByCharge) {
  std::vector<Candidate> candidates(3, Prompt(1000));
  candidates[0].row_charge = 1;
  candidates[1].row_charge = 2;
  candidates[2].row_charge = 4;
  EXPECT_EQ(Share(candidates, Limits(112), StepCost(), 20),
            Rows({64 * 20, 32 * 20, 16 * 20}));
}

TEST(BatchPlannerTest, ScoredRowsAreCountedAtTheirOwnCost) {
  StepCost cost = Machine(1);
  StepShape shape;
  shape.decode_rows = 1;
  shape.prompt_rows[1] = 100;
  cost.Learn(shape, 60000000 + 100 * 3000000);
  Candidate scored = Prompt(2000);
  scored.kind = PromptKind::kScored;
  // 90 ms are worth 30 rows of 3 ms: one whole block with the decoding row.
  EXPECT_EQ(PlanStep({scored, Decoding()}, Limits(), cost)[0], 15);
  EXPECT_EQ(PlanStep({Prompt(2000), Decoding()}, Limits(), cost)[0], 79);
}

TEST(BatchPlannerTest, NothingReadyIsAnEmptyStep) {
  Candidate waiting = Decoding();
  waiting.ready_rows = 0;
  EXPECT_EQ(Sum(PlanStep({Prompt(0), waiting}, Limits(), Machine(1))), 0);
  EXPECT_TRUE(PlanStep({}, Limits(), Machine(1)).empty());
}

TEST(BatchPlannerTest, AStepIsDescribedByItsRows) {
  Candidate scored = Prompt(100);
  scored.kind = PromptKind::kScored;
  scored.position = 1000;
  const StepShape shape =
      ShapeOf({Decoding(), Prompt(100), scored}, {1, 20, 60});
  EXPECT_EQ(shape.decode_rows, 1);
  EXPECT_EQ(shape.prompt_rows[0], 20);
  EXPECT_EQ(shape.prompt_rows[1], 60);
  EXPECT_EQ(shape.context, (20 * 10 + 60 * 1030) / 80.0);
}

TEST(BatchPlannerTest, APromptTakesLongerBesideDecodingRows) {
  const StepCost cost = Machine(1);
  constexpr PromptKind kKind = PromptKind::kContinued;
  EXPECT_NEAR(PromptNs(kKind, 2000, 0, Limits(), cost), 2000e6, 1e6);
  // 1.5 of 2.5 parts of the time are the prompts'.
  EXPECT_NEAR(PromptNs(kKind, 2000, 4, Limits(), cost), 2000e6 * 2.5 / 1.5,
              1e6);
  EXPECT_EQ(PromptNs(kKind, 2000, 4, Limits(), StepCost()), 0);
}

}  // namespace
}  // namespace lapidary
