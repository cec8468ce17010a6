#include "kernels/text/cost.h"

#include <algorithm>

namespace lapidary::kernels::text {
namespace {

// Keys that the row at `position` sees in `layer`.
int64_t KeysSeen(const TextConfig& c, int64_t layer, int64_t position) {
  const int64_t seen = position + 1;
  return c.layer_types[layer] == LayerType::kSliding
             ? std::min(c.sliding_window, seen)
             : seen;
}

// Elements of the matrices that a row meets: those that make a layer's keys
// and values, and a layer's others.
double KvElements(const TextConfig& c) {
  return 2.0 * c.hidden_size * c.kv_width();
}

double OtherElements(const TextConfig& c, int64_t layer) {
  const double hidden = c.hidden_size;
  return hidden * (2.0 * c.query_width() + 3.0 * c.intermediate_size[layer] +
                   2.0 * c.laurel_rank + 3.0 * c.hidden_size_per_layer_input);
}

// Scores and the sum of values, for all query heads.
double AttentionOperations(const TextConfig& c, int64_t keys) {
  return 4.0 * c.query_width() * keys;
}

double EmbedOperations(const TextConfig& c) {
  return 2.0 * (c.altup_num_inputs - 1) * c.hidden_size * c.hidden_size;
}

double HeadOperations(const TextConfig& c) {
  return EmbedOperations(c) + 2.0 * c.hidden_size * c.vocab_size;
}

double LayerOperations(const TextConfig& c, int64_t layer, int64_t position) {
  return 2.0 * OtherElements(c, layer) +
         (c.OwnsKv(layer) ? 2.0 * KvElements(c) : 0.0) +
         AttentionOperations(c, KeysSeen(c, layer, position));
}

}  // namespace

double TokenOperations(const TextConfig& config, int64_t position) {
  double operations = EmbedOperations(config) + HeadOperations(config);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    operations += LayerOperations(config, layer, position);
  }
  return operations;
}

double PromptOperations(const TextConfig& config, int64_t tokens,
                        bool trim_prefill) {
  // The last row runs through everything; the others stop early.
  double operations = TokenOperations(config, tokens - 1);
  const int64_t owners = config.first_kv_shared_layer();
  const int64_t whole_layers =
      trim_prefill ? owners - 1 : config.num_hidden_layers;
  for (int64_t position = 0; position + 1 < tokens; ++position) {
    operations += EmbedOperations(config);
    for (int64_t layer = 0; layer < whole_layers; ++layer) {
      operations += LayerOperations(config, layer, position);
    }
    if (trim_prefill) operations += 2.0 * KvElements(config);
  }
  return operations;
}

double KvBytesRead(const TextConfig& config, int64_t position, DType kv_dtype) {
  double keys = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    keys += KeysSeen(config, layer, position);
  }
  return 2.0 * keys * config.kv_width() * SizeOf(kv_dtype);
}

}  // namespace lapidary::kernels::text
