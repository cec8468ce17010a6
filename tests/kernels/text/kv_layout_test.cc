// Which layers of a range keep keys and values, and how many.

#include "kernels/text/kv_layout.h"

#include <string>

#include "gtest/gtest.h"

namespace lapidary::kernels::text {
namespace {

TEST(KvLayoutForTest, KeepsOwnersOfTheRange_AndDonorsBeforeIt) {
  TextConfig config;
  config.num_hidden_layers = 8;
  config.num_kv_shared_layers = 3;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.sliding_window = 100;
  const auto s = LayerType::kSliding, f = LayerType::kFull;
  config.layer_types = {s, s, f, s, f, s, s, f};
  const auto layers = [&](int64_t first, int64_t last) {
    std::string text;
    const auto layout = KvLayoutFor(config, {first, last}, DType::kF32);
    EXPECT_EQ(layout.kv_width, 32);
    EXPECT_EQ(layout.RowBytes(), 128u);
    for (const KvLayout::Layer& layer : layout.layers) {
      text += std::to_string(layer.layer) + ":" + std::to_string(layer.ring);
      text += " ";
    }
    return text;
  };
  EXPECT_EQ(layers(0, 8), "0:100 1:100 2:0 3:100 4:0 ");
  EXPECT_EQ(layers(0, 3), "0:100 1:100 2:0 ");
  EXPECT_EQ(layers(5, 7), "3:100 ");
  EXPECT_EQ(layers(4, 8), "3:100 4:0 ");
  EXPECT_EQ(layers(7, 8), "4:0 ");
}

}  // namespace
}  // namespace lapidary::kernels::text
