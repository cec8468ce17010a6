// Pages of keys and values: who has them, where they lie, when they come back.

#include "kernels/attention/kv_cache.h"

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lapidary::kernels {
namespace {

using testing::HasSubstr;

// A ring of less than a page, one that is no whole number of pages, and a
// layer that keeps every position.
KvLayout Layout(DType dtype = DType::kBf16) {
  KvLayout layout;
  layout.dtype = dtype;
  layout.kv_width = 6;
  layout.layers = {{0, 24}, {1, 100}, {4, 0}};
  return layout;
}

std::unique_ptr<KvSequence> MustCreate(KvPool* pool, int64_t positions) {
  auto sequence = KvSequence::Create(pool, positions);
  EXPECT_TRUE(sequence.ok()) << sequence.status();
  return sequence.ok() ? *std::move(sequence) : nullptr;
}

TEST(KvLayoutTest, PagesFor_CountsRingsOnlyOnce) {
  const KvLayout layout = Layout();
  EXPECT_EQ(layout.PageBytes(), 2u * 64 * 6 * 2);
  EXPECT_EQ(Layout(DType::kF32).PageBytes(), 2u * 64 * 6 * 4);
  EXPECT_EQ(layout.PagesFor(0), 0);
  EXPECT_EQ(layout.PagesFor(1), 3);
  EXPECT_EQ(layout.PagesFor(64), 3);
  EXPECT_EQ(layout.PagesFor(65), 1 + 2 + 2);
  EXPECT_EQ(layout.PagesFor(1000), 1 + 2 + 16);
  EXPECT_EQ(layout.PagesFor(32768), 1 + 2 + 512);
}

TEST(KvPoolTest, PagesAreTaken_AndComeBack) {
  KvPool pool(Layout(), 10);
  EXPECT_EQ(pool.pages_total(), 10);
  EXPECT_EQ(pool.pages_in_use(), 0);
  auto a = MustCreate(&pool, 65);  // 5 pages
  EXPECT_EQ(a->max_positions(), 65);
  EXPECT_EQ(pool.pages_in_use(), 5);
  EXPECT_EQ(pool.bytes_in_use(), 5 * pool.layout().PageBytes());
  auto b = MustCreate(&pool, 10);  // 3 pages
  EXPECT_EQ(pool.pages_in_use(), 8);
  a.reset();
  EXPECT_EQ(pool.pages_in_use(), 3);
  b.reset();
  EXPECT_EQ(pool.pages_in_use(), 0);
}

TEST(KvPoolTest, SequenceThatDoesNotFit_TakesNothing_AndIsTold) {
  KvPool pool(Layout(), 7);
  auto a = MustCreate(&pool, 65);
  const auto refused = KvSequence::Create(&pool, 64);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("2 of 7 pages free, a sequence of 64 positions needs "
                        "3"));
  EXPECT_EQ(pool.pages_in_use(), 5);
  a.reset();
  EXPECT_TRUE(KvSequence::Create(&pool, 64).ok());
  EXPECT_TRUE(KvSequence::Create(&pool, 128).ok());
  EXPECT_FALSE(KvSequence::Create(&pool, 1 << 30).ok());
}

TEST(KvPoolTest, TouchedPages_AreUsedAgainFirst) {
  KvPool pool(Layout(), 1000);
  auto a = MustCreate(&pool, 64);
  auto b = MustCreate(&pool, 64);
  std::set<const std::byte*> touched;
  for (int64_t index = 0; index < 3; ++index) touched.insert(a->Key(index, 0));
  a.reset();
  const auto c = MustCreate(&pool, 64);
  for (int64_t index = 0; index < 3; ++index) {
    EXPECT_EQ(touched.count(c->Key(index, 0)), 1u);
    EXPECT_EQ(touched.count(b->Key(index, 0)), 0u);
  }
}

TEST(KvPoolTest, PoolWithoutMemory_RefusesEverySequence) {
  KvPool none(Layout(), 0);
  EXPECT_FALSE(KvSequence::Create(&none, 1).ok());
  // 2^53 bytes are more than any address space.
  KvPool impossible(Layout(), (int64_t{1} << 53) / 1536);
  EXPECT_EQ(impossible.pages_total(), 0);
  EXPECT_EQ(impossible.pages_in_use(), 0);
  EXPECT_FALSE(KvSequence::Create(&impossible, 1).ok());
}

TEST(KvPoolTest, TenThousandSequences_LeaveNothingBehind) {
  KvPool pool(Layout(), 60);
  std::vector<std::unique_ptr<KvSequence>> running(8);
  for (int i = 0; i < 10000; ++i) {
    auto& slot = running[(i * 5) % 8];
    slot.reset();
    auto created = KvSequence::Create(&pool, 1 + (i * 37) % 200);
    if (created.ok()) slot = *std::move(created);
    int64_t in_use = 0;
    for (const auto& sequence : running) {
      if (sequence != nullptr) {
        in_use += pool.layout().PagesFor(sequence->max_positions());
      }
    }
    ASSERT_EQ(pool.pages_in_use(), in_use);
  }
  running.clear();
  EXPECT_EQ(pool.pages_in_use(), 0);
}

// The bytes of one key or value, different for each.
std::vector<std::byte> Pattern(int sequence, int64_t index, int64_t position,
                               bool value, size_t size) {
  std::vector<std::byte> bytes(size);
  uint64_t h = sequence * 1000003 + index * 10007 + position * 2 + value;
  for (std::byte& b : bytes) {
    h = h * 6364136223846793005u + 1442695040888963407u;
    b = static_cast<std::byte>(h >> 56);
  }
  return bytes;
}

TEST(KvSequenceTest, NoTwoRowsOfAnySequences_ShareAByte) {
  constexpr int64_t kPositions = 230;
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    const KvLayout layout = Layout(dtype);
    const size_t size = layout.RowBytes();
    // Every page is in use.
    KvPool pool(layout, 2 * layout.PagesFor(kPositions));
    std::vector<std::unique_ptr<KvSequence>> sequences;
    for (int s = 0; s < 2; ++s) {
      sequences.push_back(MustCreate(&pool, kPositions));
    }
    EXPECT_EQ(pool.pages_in_use(), pool.pages_total());
    const auto for_each = [&](auto call) {
      for (int64_t p = 0; p < kPositions; ++p) {
        for (size_t index = 0; index < layout.layers.size(); ++index) {
          for (int s = 0; s < 2; ++s) call(s, index, p);
        }
      }
    };
    for_each([&](int s, int64_t index, int64_t p) {
      const auto key = Pattern(s, index, p, false, size);
      const auto value = Pattern(s, index, p, true, size);
      std::memcpy(sequences[s]->Key(index, p), key.data(), size);
      std::memcpy(sequences[s]->Value(index, p), value.data(), size);
    });
    for_each([&](int s, int64_t index, int64_t p) {
      const int64_t ring = layout.layers[index].ring;
      if (ring > 0 && p < kPositions - ring) return;  // overwritten
      const auto key = Pattern(s, index, p, false, size);
      const auto value = Pattern(s, index, p, true, size);
      ASSERT_EQ(std::memcmp(sequences[s]->Key(index, p), key.data(), size), 0)
          << s << ", " << index << ", " << p;
      ASSERT_EQ(std::memcmp(sequences[s]->Value(index, p), value.data(), size),
                0)
          << s << ", " << index << ", " << p;
    });
  }
}

TEST(KvSequenceTest, RowsOfAPage_FollowOneAnother) {
  KvPool pool(Layout(), 100);
  const auto sequence = MustCreate(&pool, 300);
  const auto row = static_cast<int64_t>(pool.layout().RowBytes());
  for (int64_t p = 1; p < 300; ++p) {
    if (p % kKvPagePositions != 0) {
      EXPECT_EQ(sequence->Key(2, p) - sequence->Key(2, p - 1), row) << p;
      EXPECT_EQ(sequence->Value(2, p) - sequence->Value(2, p - 1), row) << p;
    }
  }
}

TEST(KvSequenceTest, Ring_ComesRound_InWholePages) {
  KvPool pool(Layout(), 100);
  const auto sequence = MustCreate(&pool, 300);
  for (int64_t p = 100; p < 300; ++p) {
    EXPECT_EQ(sequence->Key(0, p), sequence->Key(0, p - 64));
    if (p < 128) continue;
    EXPECT_EQ(sequence->Value(1, p), sequence->Value(1, p - 128));
  }
}

}  // namespace
}  // namespace lapidary::kernels
