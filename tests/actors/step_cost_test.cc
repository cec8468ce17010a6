#include "actors/step_cost.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

// A machine whose decode steps take 60 ms and whose prompt rows take 2 ms and
// 1 µs more for each position before them.
constexpr double kDecode = 60e6;
constexpr double kRow = 2e6;
constexpr double kPosition = 1e3;

StepShape Shape(int64_t decode, int64_t prompt, double context = 0) {
  StepShape shape;
  shape.decode_rows = decode;
  shape.prompt_rows[0] = prompt;
  shape.context = context;
  return shape;
}

void Measure(StepCost& cost, const StepShape& shape, double factor = 1) {
  const double rows = static_cast<double>(shape.prompt_rows[0]);
  double ns = rows * (kRow + kPosition * shape.context);
  if (shape.decode_rows > 0) ns += kDecode;
  cost.Learn(shape, static_cast<int64_t>(factor * ns));
}

TEST(StepCostTest, KnowsNothingBeforeTheFirstStep) {
  const StepCost cost;
  EXPECT_EQ(cost.DecodeNs(4), 0);
  EXPECT_EQ(cost.PromptRowNs(PromptKind::kContinued, 100, true), 0);
  EXPECT_EQ(cost.widest_beside_decode(), 0);
  EXPECT_TRUE(cost.WantsDecodeStep(1));
}

TEST(StepCostTest, LearnsDecodeStepsByTheirSize) {
  StepCost cost;
  cost.Learn(Shape(1, 0), 50);
  cost.Learn(Shape(16, 0), 80);
  EXPECT_EQ(cost.DecodeNs(1), 50);
  EXPECT_EQ(cost.DecodeNs(9), 80);  // of 9 to 16
  EXPECT_EQ(cost.DecodeNs(4), 50);  // the nearest smaller
  EXPECT_EQ(cost.DecodeNs(64), 80);
  EXPECT_FALSE(cost.WantsDecodeStep(16));
  EXPECT_TRUE(cost.WantsDecodeStep(4));
}

TEST(StepCostTest, ALargerStepStandsInWhereNoSmallerWasSeen) {
  StepCost cost;
  cost.Learn(Shape(32, 0), 90);
  EXPECT_EQ(cost.DecodeNs(1), 90);
}

TEST(StepCostTest, DisturbedStepsChangeNothing) {
  StepCost cost;
  Measure(cost, Shape(4, 0), 100);  // brought the weights into memory
  for (int i = 0; i < 8; ++i) Measure(cost, Shape(4, 0), i % 3 == 0 ? 5 : 1);
  EXPECT_EQ(cost.DecodeNs(4), kDecode);
}

TEST(StepCostTest, TheSecondStepAlreadyCorrectsASlowFirst) {
  StepCost cost;
  Measure(cost, Shape(4, 0), 100);
  Measure(cost, Shape(4, 0));
  EXPECT_EQ(cost.DecodeNs(4), kDecode);
}

TEST(StepCostTest, ANewPaceIsKnownWithinFiveSteps) {
  StepCost cost;
  for (int i = 0; i < 100; ++i) Measure(cost, Shape(4, 0));
  for (int i = 0; i < 5; ++i) Measure(cost, Shape(4, 0), 2);
  EXPECT_EQ(cost.DecodeNs(4), 2 * kDecode);
}

TEST(StepCostTest, AnOldMeasurementIsWantedAgain) {
  StepCost cost;
  Measure(cost, Shape(4, 0));
  for (int i = 0; i < 255; ++i) Measure(cost, Shape(4, 64));
  EXPECT_FALSE(cost.WantsDecodeStep(4));
  Measure(cost, Shape(4, 64));
  EXPECT_TRUE(cost.WantsDecodeStep(4));
  EXPECT_EQ(cost.DecodeNs(4), kDecode);
}

TEST(StepCostTest, PromptRowsAreWhatAStepTakesBeyondItsDecodeRows) {
  StepCost cost;
  Measure(cost, Shape(4, 0));
  Measure(cost, Shape(4, 64));
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kContinued, 0, true), kRow, 1);
  EXPECT_EQ(cost.widest_beside_decode(), 64);
}

TEST(StepCostTest, StepsOfPromptsAloneStandInUntilOthersWereSeen) {
  StepCost cost;
  Measure(cost, Shape(0, 512));
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kContinued, 0, true), kRow, 1);
  Measure(cost, Shape(4, 0));
  Measure(cost, Shape(4, 64), 0.75);  // some of the work was hidden
  EXPECT_LT(cost.PromptRowNs(PromptKind::kContinued, 0, true), kRow);
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kContinued, 0, false), kRow, 1);
}

TEST(StepCostTest, ARowCostsMoreTheMoreStandsBeforeIt) {
  StepCost cost;
  for (int position = 0; position < 8192; position += 512) {
    Measure(cost, Shape(0, 512, position + 256));
  }
  for (double context : {0.0, 4000.0, 30000.0}) {
    EXPECT_NEAR(cost.PromptRowNs(PromptKind::kContinued, context, false),
                kRow + kPosition * context, 10)
        << context;
  }
}

TEST(StepCostTest, TheSlopeOutlivesShortPrompts) {
  StepCost cost;
  for (int position = 0; position < 8192; position += 512) {
    Measure(cost, Shape(0, 512, position + 256));
  }
  for (int i = 0; i < 100; ++i) Measure(cost, Shape(0, 100, 50));
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kContinued, 10000, false),
              kRow + kPosition * 10000, 10);
}

TEST(StepCostTest, FallingNoiseIsNoNegativeCost) {
  StepCost cost;
  for (int i = 0; i < 32; ++i) {
    cost.Learn(Shape(0, 100, i * 300.0), 200000 - i * 6000);
  }
  EXPECT_GT(cost.PromptRowNs(PromptKind::kContinued, 30000, false), 0);
  EXPECT_GT(cost.PromptRowNs(PromptKind::kContinued, 0, false), 0);
}

TEST(StepCostTest, AFewRowsSayNothingOfARowsCost) {
  StepCost cost;
  Measure(cost, Shape(0, 14));  // mostly the weights' way from memory
  Measure(cost, Shape(4, 0));
  Measure(cost, Shape(4, 10));
  EXPECT_EQ(cost.PromptRowNs(PromptKind::kContinued, 0, true), 0);
}

TEST(StepCostTest, BesideUnknownDecodeStepsNothingIsLearnt) {
  StepCost cost;
  Measure(cost, Shape(4, 64));
  EXPECT_EQ(cost.PromptRowNs(PromptKind::kContinued, 0, true), 0);
}

TEST(StepCostTest, ScoredRowsHaveACostOfTheirOwn) {
  StepCost cost;
  Measure(cost, Shape(0, 512));
  StepShape scored;
  scored.prompt_rows[1] = 512;
  cost.Learn(scored, 5000 * 512);
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kScored, 0, false), 5000, 1);
  StepShape both = scored;
  both.prompt_rows[0] = 100;
  cost.Learn(both, 1);  // whose part is whose?
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kScored, 0, false), 5000, 1);
  EXPECT_NEAR(cost.PromptRowNs(PromptKind::kContinued, 0, false), kRow, 1);
}

}  // namespace
}  // namespace lapidary
