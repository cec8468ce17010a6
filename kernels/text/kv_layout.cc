#include "kernels/text/kv_layout.h"

#include <set>

namespace lapidary::kernels::text {

KvLayout KvLayoutFor(const TextConfig& config, LayerRange range, DType dtype) {
  std::set<int64_t> sources;
  for (int64_t layer = range.first; layer < range.last; ++layer) {
    sources.insert(config.KvSource(layer));
  }
  KvLayout layout;
  layout.dtype = dtype;
  layout.kv_width = config.kv_width();
  layout.kv_heads = config.num_key_value_heads;
  for (int64_t layer : sources) {
    const bool sliding = config.layer_types[layer] == LayerType::kSliding;
    layout.layers.push_back({layer, sliding ? config.sliding_window : 0});
  }
  return layout;
}

}  // namespace lapidary::kernels::text
