// The text goldens of tests/goldens/text: random models as Hugging Face
// computes them (tests/goldens/README.md has the files' format).
#ifndef LAPIDARY_TESTS_SUPPORT_TEXT_GOLDEN_H_
#define LAPIDARY_TESTS_SUPPORT_TEXT_GOLDEN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
#include "tests/support/tiny_model.h"

namespace lapidary {

struct GoldenPrompt {
  std::vector<int32_t> ids;
  std::vector<std::vector<float>> logprobs;  // [positions][vocab_size]
  std::vector<int32_t> greedy;               // the ids that follow
  std::vector<float> margins;  // of each greedy choice over the next best
};

struct TextGolden {
  std::string name;
  std::string config_json;
  uint32_t seed = 0;
  kernels::DType weight_dtype = kernels::DType::kBf16;
  // Hugging Face's own float32 error: max |Δ log-prob| against float64.
  double float32_noise = 0;
  std::vector<GoldenPrompt> prompts;

  // What an f32 engine is held to.
  double Tolerance() const;
};

// Names of all goldens whose weights are synth's.
std::vector<std::string> TextGoldenNames();

TextGolden ReadTextGolden(const std::string& name);

// Writes and packs the golden's model in `dir`; returns the packed folder.
absl::StatusOr<std::string> PackGolden(const TempDir& dir,
                                       const TextGolden& golden,
                                       kernels::DType dtype);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_TEXT_GOLDEN_H_
