#include "actors/step_cost.h"

#include <algorithm>
#include <vector>

#include "absl/numeric/bits.h"

namespace lapidary {
namespace {

// Samples that a median is taken of.
constexpr size_t kMedianOf = 9;
// Samples that a slope is taken of, and how far apart two must be, in
// positions: the cost of a row grows by a few per cent over so many.
constexpr size_t kSlopeOf = 32;
constexpr double kSlopeSpread = 256;
// Pairs without which a slope would be chance.
constexpr size_t kSlopePairs = 8;
// Fewer prompt rows tell more of the step's fixed cost than of theirs. In a
// step of prompts alone nothing else tells that cost.
constexpr int64_t kFewestBeside = 16;
constexpr int64_t kFewestAlone = 64;
// Steps after which a measured decode step is old.
constexpr uint64_t kOldAfter = 256;

double Median(std::vector<double> values) {
  // Of an even number the lower one: the first steps are slow, because they
  // bring the weights into memory.
  auto middle = values.begin() + (values.size() - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

size_t BucketOf(int64_t rows) {
  return absl::bit_width(static_cast<uint64_t>(rows - 1));
}

}  // namespace

void RecentMedian::Add(double value) {
  values_.push_back(value);
  if (values_.size() > kMedianOf) values_.pop_front();
  median_ = Median({values_.begin(), values_.end()});
}

void RecentLine::Add(double x, double y) {
  samples_.push_back({x, y});
  if (samples_.size() > kSlopeOf) samples_.pop_front();
  std::vector<double> slopes;
  for (size_t i = 0; i < samples_.size(); ++i) {
    for (size_t j = i + 1; j < samples_.size(); ++j) {
      const double dx = samples_[j].x - samples_[i].x;
      if (std::abs(dx) < kSlopeSpread) continue;
      slopes.push_back((samples_[j].y - samples_[i].y) / dx);
    }
  }
  if (slopes.size() >= kSlopePairs) {
    slope_ = std::max(0.0, Median(std::move(slopes)));
  }
  std::vector<double> levels, ys;
  const size_t old = samples_.size() - std::min(samples_.size(), kMedianOf);
  for (size_t i = old; i < samples_.size(); ++i) {
    levels.push_back(samples_[i].y - slope_ * samples_[i].x);
    ys.push_back(samples_[i].y);
  }
  level_ = Median(std::move(levels));
  middle_ = Median(std::move(ys));
}

double RecentLine::At(double x) const {
  return std::max(level_ + slope_ * x, middle_ / 4);
}

void StepCost::Learn(const StepShape& shape, int64_t compute_ns) {
  ++steps_;
  const auto ns = static_cast<double>(compute_ns);
  const int64_t prompt = shape.all_prompt_rows();
  if (prompt == 0) {
    if (shape.decode_rows < 1) return;
    Decode& decode =
        decode_[std::min(BucketOf(shape.decode_rows), kBuckets - 1)];
    decode.ns.Add(ns);
    decode.measured_at = steps_;
    return;
  }
  const bool beside = shape.decode_rows > 0;
  const double fixed = beside ? DecodeNs(shape.decode_rows) : 0;
  if (beside && fixed == 0) return;  // nothing to tell the rows' part by
  const size_t kind = shape.prompt_rows[1] > 0 ? 1 : 0;
  if (shape.prompt_rows[1 - kind] > 0) return;  // nor whose part it is
  if (prompt < (beside ? kFewestBeside : kFewestAlone)) return;
  prompt_row_[kind][beside].Add(
      shape.context, std::max(0.0, ns - fixed) / static_cast<double>(prompt));
  if (!beside) return;
  beside_.push_back(prompt);
  if (beside_.size() > kMedianOf) beside_.pop_front();
}

double StepCost::DecodeNs(int64_t rows) const {
  const size_t bucket = std::min(BucketOf(rows), kBuckets - 1);
  for (size_t i = bucket + 1; i-- > 0;) {
    if (!decode_[i].ns.empty()) return decode_[i].ns.value();
  }
  for (size_t i = bucket + 1; i < kBuckets; ++i) {
    if (!decode_[i].ns.empty()) return decode_[i].ns.value();
  }
  return 0;
}

bool StepCost::WantsDecodeStep(int64_t rows) const {
  const Decode& decode = decode_[std::min(BucketOf(rows), kBuckets - 1)];
  return decode.ns.empty() || steps_ - decode.measured_at >= kOldAfter;
}

double StepCost::PromptRowNs(PromptKind kind, double context,
                             bool beside_decode) const {
  const auto& lines = prompt_row_[static_cast<size_t>(kind)];
  if (!lines[beside_decode].empty()) return lines[beside_decode].At(context);
  if (!lines[!beside_decode].empty()) return lines[!beside_decode].At(context);
  return 0;
}

int64_t StepCost::widest_beside_decode() const {
  if (beside_.empty()) return 0;
  return *std::max_element(beside_.begin(), beside_.end());
}

}  // namespace lapidary
