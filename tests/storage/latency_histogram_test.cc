#include "storage/latency_histogram.h"

#include <cmath>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

TEST(LatencyHistogram, PercentilesAreWithinABucket) {
  LatencyHistogram histogram;
  for (int micros = 1; micros <= 10000; ++micros) histogram.Record(micros);
  const LatencyHistogram::Counts counts = histogram.Take();
  EXPECT_EQ(counts.total(), 10000u);
  EXPECT_EQ(counts.max, 10000);
  for (double p : {0.1, 0.5, 0.9, 0.99, 1.0}) {
    EXPECT_NEAR(counts.Percentile(p), p * 10000, 0.2 * p * 10000) << p;
  }
}

TEST(LatencyHistogram, ValuesFallBelowTheirBound) {
  for (double micros : {0.0, 0.3, 1.0, 1.1, 2.0, 37.0, 1e6, 6e7}) {
    LatencyHistogram histogram;
    histogram.Record(micros);
    const LatencyHistogram::Counts counts = histogram.Take();
    for (size_t i = 0; i < LatencyHistogram::kBuckets; ++i) {
      if (counts.buckets[i] == 0) continue;
      EXPECT_LE(micros, LatencyHistogram::UpperBound(i) * (1 + 1e-12));
      if (i > 0) {
        EXPECT_GT(micros, LatencyHistogram::UpperBound(i - 1));
      }
    }
  }
}

TEST(LatencyHistogram, HoursFallIntoTheLastBucket) {
  LatencyHistogram histogram;
  histogram.Record(1e10);
  const LatencyHistogram::Counts counts = histogram.Take();
  EXPECT_EQ(counts.buckets.back(), 1u);
  EXPECT_TRUE(
      std::isinf(LatencyHistogram::UpperBound(LatencyHistogram::kBuckets - 1)));
  EXPECT_LE(counts.Percentile(0.99), 1e10);
}

TEST(LatencyHistogram, NothingRecordedIsZero) {
  EXPECT_EQ(LatencyHistogram().Take().Percentile(0.99), 0);
}

TEST(LatencyHistogram, ThreadsLoseNoRecord) {
  LatencyHistogram histogram;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&histogram, thread] {
      for (int i = 0; i < 20000; ++i) histogram.Record(i + thread);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.Take().total(), 80000u);
  EXPECT_EQ(histogram.Take().max, 20002);
}

}  // namespace
}  // namespace lapidary
