#include "kernels/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/sampling/vocabulary_ops.h"

namespace lapidary::kernels {
namespace {

absl::Status OutOfRange(const char* field, double value, const char* range) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", value, " is not in ", range));
}

// SplitMix64 at a counter: the random number of draw `n` is a function of seed
// and n alone.
uint64_t CounterRandom(uint64_t seed, uint64_t n) {
  uint64_t z = seed + (n + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// In [0, 1).
double CounterUniform(uint64_t seed, uint64_t n) {
  constexpr double kTwoToMinus53 = 1.0 / 9007199254740992.0;
  return (CounterRandom(seed, n) >> 11) * kTwoToMinus53;
}

bool Better(const Candidate& a, const Candidate& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

// Probabilities whose sum is looked for by KeepTopP: more are put in order only
// where these do not reach it.
constexpr size_t kFirstSorted = 256;

// Turns the candidates' logits into probabilities that sum to 1. The highest
// logit is subtracted before the division, so that no temperature overflows.
void Normalise(float temperature, std::vector<Candidate>* candidates) {
  double top = -std::numeric_limits<double>::infinity();
  for (const Candidate& c : *candidates) top = std::max<double>(top, c.first);
  double sum = 0;
  for (Candidate& c : *candidates) {
    c.first = static_cast<float>(std::exp((c.first - top) / temperature));
    sum += c.first;
  }
  for (Candidate& c : *candidates) {
    c.first = static_cast<float>(c.first / sum);
  }
}

// The smallest set of the most probable candidates whose probabilities reach
// top_p, best first. What is left no longer sums to 1.
void KeepTopP(float top_p, std::vector<Candidate>* candidates) {
  double sum = 0;
  size_t kept = 0;
  size_t sorted = 0;
  for (; kept < candidates->size() && sum < top_p; ++kept) {
    if (kept == sorted) {
      const auto first = candidates->begin() + kept;
      sorted = std::min(candidates->size(), std::max(kFirstSorted, 8 * sorted));
      const auto last = candidates->begin() + sorted;
      std::partial_sort(first, last, candidates->end(), Better);
    }
    sum += (*candidates)[kept].first;
  }
  candidates->resize(std::max<size_t>(1, kept));
}

// Those at least min_p times as probable as the best.
void KeepMinP(float min_p, std::vector<Candidate>* candidates) {
  float top = 0;
  for (const Candidate& c : *candidates) top = std::max(top, c.first);
  const auto less = [least = min_p * top](const Candidate& c) {
    return c.first < least;
  };
  candidates->erase(
      std::remove_if(candidates->begin(), candidates->end(), less),
      candidates->end());
}

}  // namespace

absl::Status CheckSamplingParams(const SamplingParams& params,
                                 int32_t text_vocabulary) {
  // Written so that NaN fails.
  if (!(params.temperature >= 0) || std::isinf(params.temperature)) {
    return OutOfRange("temperature", params.temperature, "[0, inf)");
  }
  if (params.top_k < 0) return OutOfRange("top_k", params.top_k, "[0, inf)");
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return OutOfRange("top_p", params.top_p, "(0, 1]");
  }
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    return OutOfRange("min_p", params.min_p, "[0, 1]");
  }
  if (!(params.repetition_penalty > 0) ||
      std::isinf(params.repetition_penalty)) {
    return OutOfRange("repetition_penalty", params.repetition_penalty,
                      "(0, inf)");
  }
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= text_vocabulary) {
      return absl::InvalidArgumentError(
          absl::StrCat("logit_bias: token id ", id, " is not in [0, ",
                       text_vocabulary, "), the text vocabulary"));
    }
    if (!std::isfinite(bias)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "logit_bias: ", bias, " for token id ", id, " is not finite"));
    }
  }
  return absl::OkStatus();
}

Sampler::Sampler(SamplingParams params, int32_t text_vocabulary)
    : params_(std::move(params)), text_vocabulary_(text_vocabulary) {}

void Sampler::See(absl::Span<const int32_t> ids) {
  if (params_.repetition_penalty == 1.0f) return;
  seen_.resize(text_vocabulary_);
  for (int32_t id : ids) {
    if (id >= 0 && id < text_vocabulary_) seen_[id] = true;
  }
}

absl::Span<const float> Sampler::Adjust(absl::Span<const float> logits) {
  logits = logits.first(text_vocabulary_);
  if (params_.repetition_penalty == 1.0f && params_.logit_bias.empty()) {
    return logits;
  }
  adjusted_.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : params_.logit_bias) adjusted_[id] += bias;
  if (!seen_.empty()) {
    for (int32_t id = 0; id < text_vocabulary_; ++id) {
      if (!seen_[id]) continue;
      float& logit = adjusted_[id];
      logit = logit < 0 ? logit * params_.repetition_penalty
                        : logit / params_.repetition_penalty;
    }
  }
  return adjusted_;
}

int32_t Sampler::Draw(absl::Span<const float> logits) {
  if (params_.top_k > 0) {
    SelectTop(logits, std::min<size_t>(params_.top_k, logits.size()),
              &candidates_);
    if (candidates_.empty()) return 0;  // logits that are not numbers
    std::sort(candidates_.begin(), candidates_.end(), Better);
  } else {
    candidates_.clear();
    for (int32_t id = 0; id < text_vocabulary_; ++id) {
      candidates_.emplace_back(logits[id], id);
    }
  }
  Normalise(params_.temperature, &candidates_);
  if (params_.top_p < 1) KeepTopP(params_.top_p, &candidates_);
  if (params_.min_p > 0) KeepMinP(params_.min_p, &candidates_);
  double total = 0;
  for (const Candidate& c : candidates_) total += c.first;
  const double drawn = CounterUniform(params_.seed, drawn_) * total;
  double sum = 0;
  for (const Candidate& c : candidates_) {
    sum += c.first;
    if (drawn < sum) return c.second;
  }
  return candidates_.front().second;  // logits that are not numbers
}

int32_t Sampler::Sample(absl::Span<const float> logits) {
  const absl::Span<const float> adjusted = Adjust(logits);
  const int32_t token =
      params_.temperature == 0 ? ArgMax(adjusted) : Draw(adjusted);
  ++drawn_;
  See({token});
  return token;
}

std::vector<TokenLogProb> TopLogProbs(absl::Span<const float> logits, int32_t k,
                                      double log_sum_exp) {
  // A heap of the k best, the worst on top.
  std::vector<Candidate> best;
  const auto size = std::min<size_t>(k, logits.size());
  for (size_t id = 0; id < logits.size() && size > 0; ++id) {
    const Candidate candidate(logits[id], static_cast<int32_t>(id));
    if (best.size() == size && !Better(candidate, best.front())) continue;
    if (best.size() == size) {
      std::pop_heap(best.begin(), best.end(), Better);
      best.pop_back();
    }
    best.push_back(candidate);
    std::push_heap(best.begin(), best.end(), Better);
  }
  std::sort_heap(best.begin(), best.end(), Better);
  std::vector<TokenLogProb> result;
  result.reserve(best.size());
  for (const auto& [logit, id] : best) {
    result.push_back({id, static_cast<float>(logit - log_sum_exp)});
  }
  return result;
}

}  // namespace lapidary::kernels
