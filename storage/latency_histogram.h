// Counts how long calls took, in buckets that grow by √2 from 1 µs to about a
// minute: a percentile is known to within a fifth of its value. Recording is
// wait-free, so that readers never queue behind their own measurement.
//
//   LatencyHistogram reads;
//   reads.Record(micros);
//   double p99 = reads.Take().Percentile(0.99);
#ifndef LAPIDARY_STORAGE_LATENCY_HISTOGRAM_H_
#define LAPIDARY_STORAGE_LATENCY_HISTOGRAM_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lapidary {

class LatencyHistogram {
 public:
  // Two an octave, 1 µs to 2^26 µs; the last takes all that is longer.
  static constexpr size_t kBuckets = 53;

  // Largest duration in microseconds that bucket `bucket` takes; infinite for
  // the last.
  static double UpperBound(size_t bucket);

  void Record(double micros);

  // What was recorded until now. Calls that end meanwhile may be counted or
  // not.
  struct Counts {
    std::array<uint64_t, kBuckets> buckets = {};
    double max = 0;  // microseconds

    uint64_t total() const;
    // Microseconds that the share `p` of the calls did not exceed; 0 when
    // nothing was recorded. Never above max.
    double Percentile(double p) const;
  };
  Counts Take() const;

 private:
  std::array<std::atomic<uint64_t>, kBuckets> buckets_ = {};
  std::atomic<double> max_{0};
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_LATENCY_HISTOGRAM_H_
