// The vision goldens of tests/goldens/vision: random towers as timm and Hugging
// Face compute them (tests/goldens/README.md has the files' format).
#ifndef LAPIDARY_TESTS_SUPPORT_VISION_GOLDEN_H_
#define LAPIDARY_TESTS_SUPPORT_VISION_GOLDEN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "kernels/vision/weights.h"
#include "storage/safetensors.h"
#include "tests/support/tiny_model.h"

namespace lapidary {

// What a block made: its root mean square and its first value.
struct GoldenBlock {
  double rms = 0;
  double first = 0;
};

struct VisionCase {
  int64_t height = 0, width = 0;
  std::vector<int64_t> features_shape, soft_tokens_shape;
  // Every n-th value, n being the smallest that leaves at most 4096.
  std::vector<float> features, soft_tokens;
  double features_rms = 0, soft_tokens_rms = 0;
  std::map<std::string, GoldenBlock> blocks;
};

struct VisionGolden {
  std::string name;
  // Of the rule's weights; none for "nano", whose weights are the bundled
  // model's.
  std::string config_json;
  uint32_t seed = 0;
  std::vector<float> hard_tokens;  // of hard tokens 0 and 1
  std::vector<VisionCase> cases;
};

// The f32 tensor of that name; the test fails if there is none.
std::vector<float> ReadGoldenValues(const SafetensorsFile& file,
                                    const std::string& name);

VisionGolden ReadVisionGolden(const std::string& name);

// The golden's pixels, [height][width][3].
std::vector<float> GoldenPixels(int64_t height, int64_t width);

// max |Δ| between a golden's values and the matrix that they were taken from.
double LargestDifference(const std::vector<float>& golden,
                         kernels::ConstMatrixView values);

// The golden's tower, packed at `dtype` in `dir` and loaded.
absl::StatusOr<std::shared_ptr<const kernels::vision::VisionWeights>>
PackAndLoadTower(const TempDir& dir, const VisionGolden& golden,
                 kernels::DType dtype);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_VISION_GOLDEN_H_
