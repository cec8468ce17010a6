#include "storage/latency_histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lapidary {
namespace {

double HalfOctave(size_t bucket) { return std::exp2(0.5 * bucket); }

}  // namespace

double LatencyHistogram::UpperBound(size_t bucket) {
  if (bucket + 1 >= kBuckets) return std::numeric_limits<double>::infinity();
  return HalfOctave(bucket);
}

void LatencyHistogram::Record(double micros) {
  size_t bucket = 0;
  if (micros > 1) {
    const double halves = std::ceil(2 * std::log2(micros));
    bucket = static_cast<size_t>(
        std::min(halves, static_cast<double>(kBuckets - 1)));
  }
  buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
  double seen = max_.load(std::memory_order_relaxed);
  while (micros > seen &&
         !max_.compare_exchange_weak(seen, micros, std::memory_order_relaxed)) {
  }
}

LatencyHistogram::Counts LatencyHistogram::Take() const {
  Counts counts;
  for (size_t i = 0; i < kBuckets; ++i) {
    counts.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  }
  counts.max = max_.load(std::memory_order_relaxed);
  return counts;
}

uint64_t LatencyHistogram::Counts::total() const {
  uint64_t total = 0;
  for (uint64_t count : buckets) total += count;
  return total;
}

double LatencyHistogram::Counts::Percentile(double p) const {
  const double rank = p * static_cast<double>(total());
  double below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    const double count = static_cast<double>(buckets[i]);
    if (count > 0 && below + count >= rank) {
      const double low = i == 0 ? 0 : HalfOctave(i - 1);
      const double high = std::max(low, std::min(max, UpperBound(i)));
      return low + (high - low) * std::max(0.0, rank - below) / count;
    }
    below += count;
  }
  return 0;
}

}  // namespace lapidary
