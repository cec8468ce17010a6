// Costs counted by hand for a model of two layers, the second of which shares
// the first one's keys and values.
#include "kernels/text/cost.h"

#include "gtest/gtest.h"

namespace lapidary::kernels::text {
namespace {

TextConfig SmallConfig() {
  TextConfig config;
  config.vocab_size = 100;
  config.hidden_size = 10;
  config.hidden_size_per_layer_input = 3;
  config.intermediate_size = {20, 20};
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 1;
  config.head_dim = 2;
  config.sliding_window = 4;
  config.layer_types = {LayerType::kSliding, LayerType::kSliding};
  config.num_kv_shared_layers = 1;
  config.altup_num_inputs = 4;
  config.laurel_rank = 5;
  return config;
}

// Matrices that a row of a layer meets beside those of its keys and values: q
// and o (8 wide), gate, up and down, LAuReL's two, and three of the per-layer
// input.
constexpr double kLayer = 2 * 10 * (8 + 8 + 3 * 20 + 2 * 5 + 3 * 3);
constexpr double kKeysAndValues = 2 * 10 * (2 + 2);
constexpr double kEmbed = 2 * 3 * 10 * 10;       // AltUp projections
constexpr double kHead = kEmbed + 2 * 10 * 100;  // unembedding, logits

// Query heads are 8 wide together; a score and a value for each key.
double Attention(double keys) { return 2 * 2 * 8 * keys; }

TEST(Cost, Token_MeetsEveryMatrixOnce) {
  EXPECT_EQ(TokenOperations(SmallConfig(), 0),
            kEmbed + kHead + 2 * (kLayer + Attention(1)) + kKeysAndValues);
}

TEST(Cost, SlidingLayer_SeesItsWindow) {
  const TextConfig config = SmallConfig();
  EXPECT_EQ(TokenOperations(config, 3) - TokenOperations(config, 2),
            2 * Attention(1));
  EXPECT_EQ(TokenOperations(config, 300), TokenOperations(config, 3));
}

TEST(Cost, UntrimmedPrompt_HasAllLayersForEveryRow) {
  const double row = kEmbed + 2 * kLayer + kKeysAndValues;
  EXPECT_EQ(PromptOperations(SmallConfig(), 3, false),
            3 * row + kHead + 2 * Attention(1 + 2 + 3));
}

TEST(Cost, TrimmedPrompt_StopsAtTheLastLayersKeysAndValues) {
  // Layer 0 is the last owner: rows but the last have nothing else of it.
  EXPECT_EQ(PromptOperations(SmallConfig(), 3, true),
            TokenOperations(SmallConfig(), 2) + 2 * (kEmbed + kKeysAndValues));
}

TEST(Cost, KvBytes_AreKeysAndValuesInSight) {
  TextConfig config = SmallConfig();
  config.layer_types[1] = LayerType::kFull;
  EXPECT_EQ(KvBytesRead(config, 9, DType::kBf16), 2 * (4 + 10) * 2 * 2);
  EXPECT_EQ(KvBytesRead(config, 9, DType::kF32), 2 * (4 + 10) * 2 * 4);
}

}  // namespace
}  // namespace lapidary::kernels::text
