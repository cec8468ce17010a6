#include "actors/batch_planner.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

using Rows = std::vector<int64_t>;

Candidate Decoding() { return {true, 1}; }
Candidate Prompt(int64_t ready) { return {false, ready}; }

int64_t Sum(const Rows& rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

TEST(BatchPlannerTest, ALonePromptFillsTheStep) {
  const std::vector<Candidate> candidates = {Prompt(2000)};
  EXPECT_EQ(PlanStep(candidates, {512, 256}, 0), Rows({512}));
}

TEST(BatchPlannerTest, DecodingGoesFirstAndBoundsPromptRows) {
  const std::vector<Candidate> candidates = {Prompt(2000), Decoding(),
                                             Decoding()};
  EXPECT_EQ(PlanStep(candidates, {512, 256}, 0), Rows({256, 1, 1}));
  EXPECT_EQ(PlanStep(candidates, {100, 256}, 0), Rows({98, 1, 1}));
}

TEST(BatchPlannerTest, PromptsShareAndShortOnesLeaveTheirRoom) {
  const std::vector<Candidate> candidates = {Prompt(2000), Prompt(10),
                                             Prompt(2000)};
  const Rows rows = PlanStep(candidates, {512, 256}, 0);
  EXPECT_EQ(rows[1], 10);
  EXPECT_EQ(Sum(rows), 512);
  EXPECT_EQ(rows[0], rows[2]);
}

TEST(BatchPlannerTest, WhatDoesNotDivideGoesToEachPromptInTurn) {
  const std::vector<Candidate> candidates(3, Prompt(100));
  Rows total(3, 0);
  for (uint64_t turn = 0; turn < 3; ++turn) {
    const Rows rows = PlanStep(candidates, {4, 4}, turn);
    EXPECT_EQ(Sum(rows), 4);
    for (size_t i = 0; i < 3; ++i) total[i] += rows[i];
  }
  EXPECT_EQ(total, Rows({4, 4, 4}));
}

TEST(BatchPlannerTest, MorePromptsThanRoomAllGetTheirTurn) {
  const std::vector<Candidate> candidates(10, Prompt(1));
  Rows total(10, 0);
  for (uint64_t turn = 0; turn < 10; ++turn) {
    const Rows rows = PlanStep(candidates, {3, 3}, turn);
    EXPECT_EQ(Sum(rows), 3);
    for (size_t i = 0; i < 10; ++i) total[i] += rows[i];
  }
  EXPECT_EQ(total, Rows(10, 3));
}

TEST(BatchPlannerTest, NothingReadyIsAnEmptyStep) {
  const std::vector<Candidate> candidates = {Prompt(0), {true, 0}};
  EXPECT_EQ(Sum(PlanStep(candidates, {512, 256}, 5)), 0);
  EXPECT_TRUE(PlanStep({}, {512, 256}, 0).empty());
}

}  // namespace
}  // namespace lapidary
