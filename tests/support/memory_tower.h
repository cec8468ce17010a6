// An audio tower whose weights a test makes by a rule of its own.
//
//   MemoryTower tower(SmallAudioConfig());
//   tower.DrawLikeTorch(0);
//   tower.at("audio_tower.conformer.0.norm.weight")[3] = 2.0f;
//   auto weights = tower.Bind(DType::kF32);
#ifndef LAPIDARY_TESTS_SUPPORT_MEMORY_TOWER_H_
#define LAPIDARY_TESTS_SUPPORT_MEMORY_TOWER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/audio/weights.h"
#include "kernels/tensor.h"

namespace lapidary {

// gemma3n-audio.md §9.2 ("mini"), §9.4.
kernels::audio::AudioConfig MiniAudioConfig();
kernels::audio::AudioConfig RealFrontAudioConfig();

// In [0, 1), as torch draws it from the same generator.
double TorchUniform(std::mt19937* generator);

// Uniform noise of that amplitude, gemma3n-audio.md §9.3.
std::vector<float> NoiseSamples(uint32_t seed, int64_t count, double amplitude);

class MemoryTower {
 public:
  // All zero but for norms, which are 1.
  explicit MemoryTower(const kernels::audio::AudioConfig& config);

  const kernels::audio::AudioConfig& config() const { return config_; }

  // By the checkpoint's name and in its order.
  std::vector<float>& at(const std::string& name) { return values_.at(name); }
  std::map<std::string, std::vector<float>>& values() { return values_; }

  // What torch draws for the tower with this seed: the embedder stays as it is
  // (gemma3n-audio.md §9.2).
  void DrawLikeTorch(uint32_t seed);

  // The changes that make attention, scales and norms matter (§9.3).
  void MakeLively();

  // The embedder of §9.3.
  void FillEmbedder();

  // Packs the matrices at `dtype`, those that cannot be int8 in bf16 then; the
  // weights keep what they lie in.
  //   others  matrices that are packed otherwise, by name
  absl::StatusOr<std::shared_ptr<const kernels::audio::AudioWeights>> Bind(
      kernels::DType dtype,
      const std::map<std::string, kernels::DType>& others = {}) const;

 private:
  kernels::audio::AudioConfig config_;
  std::map<std::string, std::vector<float>> values_;
};

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_MEMORY_TOWER_H_
