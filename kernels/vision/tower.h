// The vision encoder: the pixels of an image in, its soft tokens out.
//
//   VisionTower tower(weights);
//   if (auto s = tower.Start(768, 768, pixels); !s.ok()) return s;
//   while (tower.Step()) { …decode a token… }
//   Use(tower.soft_tokens());
//
// A step is a slice of the work, some milliseconds long, so that whoever owns
// the thread can do other things between two. The memory of a forward pass is
// planned when an image's size is seen first, and kept.
//
// One VisionTower belongs to one thread and the team that works for it
// (kernels/parallel.h); its weights may be shared.
#ifndef LAPIDARY_KERNELS_VISION_TOWER_H_
#define LAPIDARY_KERNELS_VISION_TOWER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "kernels/conv/window.h"
#include "kernels/tensor.h"
#include "kernels/vision/weights.h"

namespace lapidary::kernels::vision {

struct VisionTowerOptions {
  // Multiply-adds of a step, about; 10 ms on a machine of 200 GFLOP/s.
  int64_t step_macs = int64_t{1} << 30;
  // Called after each block ("conv_stem", "blocks.2.9", "msfa.ffn", "msfa")
  // with what it made, valid during the call; for tests.
  std::function<void(const std::string& block, const MapView& map)> on_block;
};

class VisionTower {
 public:
  explicit VisionTower(std::shared_ptr<const VisionWeights> weights,
                       VisionTowerOptions options = {});
  ~VisionTower();

  const VisionConfig& config() const { return weights_->config; }
  const VisionWeights& weights() const { return *weights_; }

  // Begins with another image, whatever became of the one before.
  //   image  [height][width][3] in [0, 1]; must stay until Step says false
  //
  // Errors: INVALID_ARGUMENT for a size that the tower cannot take;
  // RESOURCE_EXHAUSTED.
  absl::Status Start(int64_t height, int64_t width, const float* image);

  // Does the next slice; false when the last one is done.
  bool Step();

  // All of it: Start and every Step.
  absl::Status Encode(int64_t height, int64_t width, const float* image);

  // Of the last image, until the next Start.
  //   features     [soft_tokens][hidden_size], row-major in y, x
  //   soft_tokens  [soft_tokens][text_hidden_size]
  ConstMatrixView features() const;
  ConstMatrixView soft_tokens() const;

  // Bytes of activations: what was planned, and the lanes' scratch memory so
  // far. Weights are not among them.
  size_t ActivationBytes() const;

 private:
  struct Plan;

  std::shared_ptr<const VisionWeights> weights_;
  VisionTowerOptions options_;
  std::unique_ptr<Plan> plan_;
};

// The text embedding of hard token `vocab_offset + row` (gemma3n-vision.md §7).
//   out  [text_hidden_size]
void EmbedHardToken(const VisionWeights& weights, int64_t row, float* out);

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_TOWER_H_
