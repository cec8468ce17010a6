// What a division of memory promises: it fits, it is no more than was wished
// for, more memory never gives less, and an impossible limit says what works.

#include "actors/memory_plan.h"

#include <filesystem>
#include <string>
#include <vector>

#include "actors/process_memory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/text/kv_layout.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::LayerType;
using testing::HasSubstr;

constexpr uint64_t kMega = 1000000;

// The E2B shape, int4.
MemoryFacts E2b() {
  MemoryFacts facts;
  kernels::text::TextConfig& c = facts.config;
  c.vocab_size = 262400;
  c.vocab_size_per_layer_input = 262144;
  c.hidden_size = 2048;
  c.hidden_size_per_layer_input = 256;
  c.num_hidden_layers = 30;
  c.num_attention_heads = 8;
  c.num_key_value_heads = 2;
  c.head_dim = 256;
  c.num_kv_shared_layers = 10;
  c.sliding_window = 512;
  c.max_position_embeddings = 32768;
  c.altup_num_inputs = 4;
  c.laurel_rank = 64;
  for (int layer = 0; layer < 30; ++layer) {
    c.intermediate_size.push_back(8192);
    c.activation_sparsity_pattern.push_back(layer < 10 ? 0.95f : 0);
    c.layer_types.push_back(layer % 5 == 4 ? LayerType::kFull
                                           : LayerType::kSliding);
  }
  facts.kv_layout = kernels::text::KvLayoutFor(c, {0, 30}, DType::kF32);
  facts.ple = {262144, 30, 256, DType::kInt8};
  facts.weight_bytes = 1345 * kMega;
  return facts;
}

MemoryWishes Wishes(uint64_t limit) {
  MemoryWishes wishes;
  wishes.limit = limit;
  wishes.flag = "--memory-limit";
  wishes.kv_bytes = uint64_t{1} << 30;
  wishes.ple_cache = uint64_t{64} << 20;
  wishes.max_batch_rows = 512;
  wishes.max_running = 64;
  wishes.threads = 2;
  return wishes;
}

TEST(MemoryPlanTest, WithoutALimit_IsWhatWasWished) {
  const auto plan = PlanMemory(E2b(), Wishes(0));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->max_batch_rows, 512);
  EXPECT_EQ(plan->max_running, 64);
  EXPECT_EQ(plan->ple_cache, uint64_t{64} << 20);
  EXPECT_GT(plan->kv_bytes, uint64_t{1023} << 20);
}

TEST(MemoryPlanTest, Fits_AndMoreMemoryNeverGivesLess) {
  MemoryPlan last;
  for (uint64_t limit = 1520 * kMega; limit < 4000 * kMega;
       limit += 37 * kMega) {
    const auto plan = PlanMemory(E2b(), Wishes(limit));
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LE(plan->Total(), limit);
    EXPECT_GE(plan->kv_bytes, last.kv_bytes) << limit;
    EXPECT_GE(plan->max_batch_rows, last.max_batch_rows) << limit;
    EXPECT_LE(plan->max_batch_rows, 512);
    EXPECT_LE(plan->max_running, plan->max_batch_rows);
    EXPECT_LE(plan->ple_cache, uint64_t{64} << 20);
    last = *plan;
  }
  EXPECT_EQ(last.max_batch_rows, 512);
}

// The promise: an int4 E2B with 4,096 positions in 1.6 GB.
TEST(MemoryPlanTest, E2bOfInt4_HasASequenceOf4096PositionsIn1600Megabytes) {
  const MemoryFacts facts = E2b();
  const auto plan = PlanMemory(facts, Wishes(1600 * kMega));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_GE(plan->kv_bytes,
            facts.kv_layout.PagesFor(4096) * facts.kv_layout.PageBytes());
  EXPECT_GE(plan->max_batch_rows, 16);
}

TEST(MemoryPlanTest, AnImpossibleLimit_IsRefusedWithTheSmallestThatWorks) {
  const auto refused = PlanMemory(E2b(), Wishes(1000 * kMega));
  ASSERT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  const std::string message(refused.status().message());
  EXPECT_THAT(message, HasSubstr("--memory-limit is 1000000000 bytes"));
  const std::string words = "the smallest that works with this model is ";
  const size_t at = message.find(words);
  ASSERT_NE(at, std::string::npos) << message;
  const uint64_t smallest = std::stoull(message.substr(at + words.size()));
  EXPECT_TRUE(PlanMemory(E2b(), Wishes(smallest)).ok());
  EXPECT_FALSE(PlanMemory(E2b(), Wishes(smallest - 1)).ok());
}

TEST(MemoryPlanTest, SmallWishesStaySmall) {
  MemoryWishes wishes = Wishes(1600 * kMega);
  wishes.max_batch_rows = 4;
  wishes.max_running = 2;
  wishes.ple_cache = 1 << 20;
  const auto plan = PlanMemory(E2b(), wishes);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->max_batch_rows, 4);
  EXPECT_EQ(plan->max_running, 2);
  EXPECT_EQ(plan->ple_cache, uint64_t{1} << 20);
}

class CgroupTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    const std::string path = dir_.File(name);
    std::filesystem::create_directories(
        std::filesystem::path(path).parent_path());
    WriteBytes(path, text);
  }
  uint64_t Limit(const std::string& membership) {
    Write("membership", membership);
    return CgroupMemoryLimit(dir_.File("membership"), dir_.File("root"));
  }
  TempDir dir_;
};

TEST_F(CgroupTest, OfVersion2_IsTheLeastOnTheWayUp) {
  Write("root/a/memory.max", "3000\n");
  Write("root/a/b/memory.max", "max\n");
  Write("root/a/b/c/memory.max", "5000\n");
  EXPECT_EQ(Limit("0::/a/b/c\n"), 3000u);
  EXPECT_EQ(Limit("0::/\n"), 0u);
  Write("root/memory.max", "2000\n");  // a container's own root
  EXPECT_EQ(Limit("0::/\n"), 2000u);
}

TEST_F(CgroupTest, OfVersion1_IsThatOfTheMemoryController) {
  Write("root/memory/a/memory.limit_in_bytes", "7000\n");
  Write("root/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limit("5:cpu:/a\n4:memory:/a\n0::/\n"), 7000u);
  EXPECT_EQ(Limit("4:memory:/elsewhere\n0::/\n"), 0u);
  EXPECT_EQ(Limit(""), 0u);
}

TEST(MemoryPlanTest, LargestImageMakesRoomUnderALimit) {
  const ImageMemory images{600 * kMega, 10 * kMega, /*decodes=*/true};
  ImageLimits limits;
  ASSERT_TRUE(PlanMemoryWithImages(E2b(), Wishes(0), images, &limits).ok());
  EXPECT_EQ(limits.max_pixels, 50'000'000);
  int64_t last = 0;
  for (const uint64_t limit : {2600, 3200, 6000, 12000}) {
    const auto plan =
        PlanMemoryWithImages(E2b(), Wishes(limit * kMega), images, &limits);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LE(plan->Total(), limit * kMega);
    // Decoding is among what is counted.
    EXPECT_EQ(plan->images, 610 * kMega + 12u * limits.max_pixels);
    EXPECT_EQ(plan->weights, E2b().weight_bytes);
    EXPECT_GE(limits.max_pixels, last);
    last = limits.max_pixels;
  }
  EXPECT_EQ(last, 50'000'000);
}

TEST(MemoryPlanTest, Sounds_AreCounted_AndNamedApartFromWeights) {
  MemoryFacts facts = E2b();
  facts.sound_bytes = 300 * kMega;
  const auto plan = PlanMemory(facts, Wishes(2000 * kMega));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->weights, E2b().weight_bytes);
  EXPECT_EQ(plan->sounds, 300 * kMega);
  EXPECT_LE(plan->Total(), 2000 * kMega);
  EXPECT_THAT(
      PlanMemory(facts, Wishes(kMega)).status().message(),
      HasSubstr("1345000000 of them for weights, 300000000 for sounds"));
}

TEST(MemoryPlanTest, SmallestLimitWithImages_Works) {
  const ImageMemory images{600 * kMega, 10 * kMega, /*decodes=*/true};
  ImageLimits limits;
  const absl::Status refused =
      PlanMemoryWithImages(E2b(), Wishes(kMega), images, &limits).status();
  const std::string words = "the smallest that works with this model is ";
  const std::string message(refused.message());
  const size_t at = message.find(words);
  ASSERT_NE(at, std::string::npos) << message;
  const uint64_t smallest = std::stoull(message.substr(at + words.size()));
  EXPECT_TRUE(
      PlanMemoryWithImages(E2b(), Wishes(smallest), images, &limits).ok());
  EXPECT_FALSE(
      PlanMemoryWithImages(E2b(), Wishes(smallest - 1), images, &limits).ok());
}

}  // namespace
}  // namespace lapidary
