// From logits to a token in the order of Hugging Face's generate() (bias,
// repetition penalty, temperature, top-k, top-p, min-p), and the
// log-probabilities that clients ask for.
//
//   Sampler sampler(params, text_vocabulary);
//   sampler.See(prompt_ids);
//   int32_t token = sampler.Sample(logits);  // and remembers it
//
// A draw depends on the seed and on how many tokens were drawn before, on
// nothing else: a sequence that is replayed draws the same tokens.
#ifndef LAPIDARY_KERNELS_SAMPLING_SAMPLER_H_
#define LAPIDARY_KERNELS_SAMPLING_SAMPLER_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace lapidary::kernels {

struct SamplingParams {
  float temperature = 1.0f;  // ≥ 0; 0: greedy, the filters below are moot
  int32_t top_k = 0;         // ≥ 0; 0: off. Ties with the k-th stay.
  float top_p = 1.0f;        // (0, 1]; 1: off
  float min_p = 0.0f;        // [0, 1]; 0: off
  float repetition_penalty = 1.0f;  // > 0; 1: off. On prompt and output.
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;  // added to the logit
};

// INVALID_ARGUMENT naming the first field that is negative, NaN or otherwise
// out of its range; logit_bias ids must be in [0, text_vocabulary).
absl::Status CheckSamplingParams(const SamplingParams& params,
                                 int32_t text_vocabulary);

// One token with its natural-log probability under the model's own
// distribution (softmax over the whole vocabulary, no sampling transforms).
struct TokenLogProb {
  int32_t id = 0;
  float logprob = 0.0f;
};

class Sampler {
 public:
  // Ids at or above `text_vocabulary` are never drawn.
  Sampler(SamplingParams params, int32_t text_vocabulary);

  // Counts tokens as seen, for the repetition penalty.
  void See(absl::Span<const int32_t> ids);

  // Draws the next token and sees it. Ties of the greedy choice go to the
  // lowest id, as torch.argmax does.
  //   logits  [vocabulary], vocabulary ≥ text_vocabulary; not changed
  int32_t Sample(absl::Span<const float> logits);

  // Tokens drawn so far: the position in the stream of random numbers.
  uint64_t drawn() const { return drawn_; }
  // Sets it, for a sequence that is replayed.
  void set_drawn(uint64_t drawn) { drawn_ = drawn; }

 private:
  // The logits with bias and penalty applied.
  absl::Span<const float> Adjust(absl::Span<const float> logits);
  int32_t Draw(absl::Span<const float> logits);

  SamplingParams params_;
  int32_t text_vocabulary_;
  uint64_t drawn_ = 0;
  std::vector<bool> seen_;
  std::vector<float> adjusted_;  // scratch [text_vocabulary]
  std::vector<std::pair<float, int32_t>> candidates_;  // scratch
};

// The k most probable ids, best first (ties: lowest id first), at most
// logits.size() of them.
std::vector<TokenLogProb> TopLogProbs(absl::Span<const float> logits, int32_t k,
                                      double log_sum_exp);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SAMPLING_SAMPLER_H_
