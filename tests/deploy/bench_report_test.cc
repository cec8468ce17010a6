// The arithmetic of `lapidary bench`: limits, shares, tables.
#include "deploy/cli/bench_report.h"

#include "deploy/cli/bench_limits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;

BenchRow MakeRow() {
  BenchRow row;
  row.name = "tg128";
  row.kind = BenchKind::kAnswer;
  row.rounds = {20};
  row.tokens_per_second = 20;
  row.limit = LimitOf({1e9, 1e9, 1}, {{40e9, 1000e9, "f32 FMA"}});
  row.steps.set_steps(2);
  row.steps.set_rows(2);
  row.steps.set_wait_ms(10);
  row.steps.set_round_trip_ms(90);
  row.steps.set_compute_ms(85);
  row.steps.set_gemm_ms(50);
  row.steps.set_attention_ms(5);
  row.steps.set_head_ms(20);
  row.steps.set_sampling_ms(3);
  row.memory.set_process_resident(100 << 20);
  row.memory.set_weights_resident(60 << 20);
  row.memory.set_kv_in_use(10 << 20);
  row.memory.set_ple_block_cache(5 << 20);
  row.memory.set_scratch(5 << 20);
  return row;
}

TEST(BenchLimits, TheSlowerOfMemoryAndArithmeticDecides) {
  const std::vector<BenchMachine::Rates> rates = {
      {10e9, 100e9, "x"}, {30e9, 300e9, "x"}, {20e9, 200e9, "x"}};
  const BenchLimit memory = LimitOf({2e9, 1e9, 4}, rates);
  EXPECT_EQ(memory.by, "memory");
  EXPECT_DOUBLE_EQ(memory.bytes_per_second, 20e9);
  EXPECT_DOUBLE_EQ(memory.tokens_per_second, 4 / (2e9 / 20e9));
  const BenchLimit arithmetic = LimitOf({1e9, 100e9, 4}, rates);
  EXPECT_EQ(arithmetic.by, "arithmetic");
  EXPECT_DOUBLE_EQ(arithmetic.tokens_per_second, 4 / (100e9 / 200e9));
}

TEST(BenchLimits, MedianOfAnEvenNumber_IsTheMeanOfTheMiddle) {
  EXPECT_DOUBLE_EQ(Median({4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(Median({4, 1, 3}), 3);
  EXPECT_DOUBLE_EQ(Median({}), 0);
}

TEST(BenchLimits, ARoundHasTheBetterReadingsBesideIt) {
  const std::vector<BenchMachine::Rates> rounds = BestAroundRounds(
      {{10e9, 300e9, "x"}, {30e9, 100e9, "x"}, {20e9, 200e9, "x"}});
  ASSERT_EQ(rounds.size(), 2u);
  EXPECT_EQ(rounds[0].bytes_per_second, 30e9);
  EXPECT_EQ(rounds[0].operations_per_second, 300e9);
  EXPECT_EQ(rounds[1].bytes_per_second, 30e9);
  EXPECT_EQ(rounds[1].operations_per_second, 200e9);
  EXPECT_EQ(rounds[1].instruction, "x");
}

TEST(BenchReport, SharesAddUpToTheStep) {
  const StepShares shares = SharesOf(MakeRow().steps);
  EXPECT_DOUBLE_EQ(shares.ple_wait, 0.10);
  EXPECT_DOUBLE_EQ(shares.gemm, 0.50);
  EXPECT_DOUBLE_EQ(shares.attention, 0.05);
  EXPECT_DOUBLE_EQ(shares.head, 0.20);
  EXPECT_DOUBLE_EQ(shares.sampling, 0.03);
  EXPECT_DOUBLE_EQ(shares.other, 0.07);
  EXPECT_DOUBLE_EQ(shares.messages, 0.05);
}

TEST(BenchReport, NoSteps_HaveNoShares) {
  EXPECT_EQ(SharesOf(v1::StepTimes()).gemm, 0);
}

TEST(BenchReport, Tables_HaveTheRowsFigures) {
  const std::string text = BenchText({MakeRow()});
  EXPECT_THAT(text, HasSubstr("tg128              20.00      40.0    50 %  "
                              "memory"));
  EXPECT_THAT(text, HasSubstr("tg128             50.00    1.0  10.00 %"));
  EXPECT_THAT(text, HasSubstr("20.0 MiB\n"));  // the rest
}

TEST(BenchReport, Json_HasEveryFigure) {
  const OutputJson json = BenchJson("m", BenchMachine(), {MakeRow()});
  const OutputJson& row = json["rows"][0];
  EXPECT_EQ(row["name"], "tg128");
  EXPECT_EQ(row["kind"], "answer");
  EXPECT_EQ(row["tokens_per_second"], 20);
  EXPECT_EQ(row["limit"]["by"], "memory");
  EXPECT_EQ(row["share_reached"], 0.5);
  EXPECT_EQ(row["step_ms"], 50);
  EXPECT_EQ(row["steps"]["gemm_ms"], 50);
  EXPECT_EQ(row["memory"]["kv_in_use"], 10 << 20);
}

}  // namespace
}  // namespace lapidary::cli
