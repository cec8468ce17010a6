// The PLE table over real RocksDB files: what is written comes back, whatever
// the range, order and repeats, within the memory that was allowed.
#include "storage/ple_store.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/ple_table.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using kernels::text::LayerRange;

// --- What is written comes back ----------------------------------------------

class PleStoreShapes
    : public PleStoreTest,
      public testing::WithParamInterface<std::tuple<PleTableShape, bool>> {};

TEST_P(PleStoreShapes, EveryRowComesBackAsWritten) {
  const auto& [shape, direct_io] = GetParam();
  WriteTable(shape);
  PleStoreOptions options;
  options.direct_io = direct_io;
  auto store = OpenTable(shape, options);
  ASSERT_NE(store, nullptr);
  const LayerRange all{0, shape.layers};
  const std::vector<int32_t> ids = AllIds(shape);
  auto rows = ReadPleRows(*store, ids, all);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(*rows == ExpectedPleRows(shape, ids, all));
}

TEST_P(PleStoreShapes, AnyLayersOfAnyIdsInAnyOrder_EqualTheTable) {
  const auto& [shape, direct_io] = GetParam();
  WriteTable(shape);
  PleStoreOptions options;
  options.direct_io = direct_io;
  auto store = OpenTable(shape, options);
  ASSERT_NE(store, nullptr);
  std::mt19937 random(7);
  for (int i = 0; i < 60; ++i) {
    LayerRange range;
    range.first = random() % shape.layers;
    range.last = range.first + 1 + random() % (shape.layers - range.first);
    const auto ids = RandomIds(1 + random() % 40, shape.tokens, i);
    auto rows = ReadPleRows(*store, ids, range);
    ASSERT_TRUE(rows.ok()) << rows.status();
    ASSERT_TRUE(*rows == ExpectedPleRows(shape, ids, range))
        << ids.size() << " ids, layers [" << range.first << ", " << range.last
        << ")";
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, PleStoreShapes,
    testing::Combine(testing::Values(kNano, kWide), testing::Bool()),
    [](const auto& info) {
      return absl::StrCat(std::get<0>(info.param).width == 16 ? "Nano" : "Wide",
                          std::get<1>(info.param) ? "Direct" : "Buffered");
    });

TEST_F(PleStoreTest, F32RowsComeBackAsWritten) {
  const PleTableShape shape{20, 3, 8, DType::kF32};
  std::vector<float> table(20 * 3 * 8);
  for (size_t i = 0; i < table.size(); ++i) table[i] = 0.5f * i;
  auto writer = PleStoreWriter::Create(folder_, shape, shape.row_dtype());
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append(table.data(), 20).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  auto store = OpenTable(shape);
  ASSERT_NE(store, nullptr);
  auto rows = store->Read({19, 4}, {1, 2});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->ToString(), "f32 [2, 1, 8]");
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(rows->data<float>()[i], table[19 * 24 + 8 + i]);
    EXPECT_EQ(rows->data<float>()[8 + i], table[4 * 24 + 8 + i]);
  }
}

TEST_F(PleStoreTest, PromptOf2000TokensWithRepeats_EqualsTheTable) {
  WriteTable(kWide);
  auto store = OpenTable(kWide);
  ASSERT_NE(store, nullptr);
  const auto ids = RandomIds(2000, kWide.tokens, 3);
  const LayerRange range{10, 20};
  auto rows = ReadPleRows(*store, ids, range);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(*rows == ExpectedPleRows(kWide, ids, range));
}

TEST_F(PleStoreTest, RepeatedIdIsReadOnce) {
  WriteTable(kWide);
  auto store = OpenTable(kWide);
  ASSERT_NE(store, nullptr);
  const PleStoreStats before = store->stats();
  const std::vector<int32_t> ids(500, 321);
  auto rows = ReadPleRows(*store, ids, {0, 30});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_TRUE(*rows == ExpectedPleRows(kWide, ids, {0, 30}));
  const PleStoreStats after = store->stats();
  EXPECT_EQ(after.cache_hits + after.cache_misses -
                (before.cache_hits + before.cache_misses),
            1u);
  EXPECT_EQ(after.rows - before.rows, 500u);
}

TEST_F(PleStoreTest, NoIdsAreNoRows) {
  WriteTable(kNano);
  auto store = OpenTable(kNano);
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(store->Read({}, {0, 1}, nullptr).ok());
}

TEST_F(PleStoreTest, ThreadsReadTheSameBytes) {
  WriteTable(kWide);
  PleStoreOptions options;
  options.block_cache_bytes = size_t{1} << 20;  // rows are always on the move
  auto store = OpenTable(kWide, options);
  ASSERT_NE(store, nullptr);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 30; ++i) {
        const auto ids =
            RandomIds(i % 3 == 0 ? 1 : 70, kWide.tokens, thread * 100 + i);
        const LayerRange range{thread, thread + 20};
        auto rows = ReadPleRows(*store, ids, range);
        if (!rows.ok() || *rows != ExpectedPleRows(kWide, ids, range)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store->stats().reads, 6u * 30u);
}

// --- Memory ------------------------------------------------------------------

TEST_F(PleStoreTest, BlockCacheKeepsToItsBound) {
  WriteTable(kWide);  // 23 MB
  for (size_t bound : {size_t{1} << 16, size_t{1} << 20, size_t{4} << 20}) {
    PleStoreOptions options;
    options.block_cache_bytes = bound;
    auto store = OpenTable(kWide, options);
    ASSERT_NE(store, nullptr);
    const auto ids = AllIds(kWide);
    ASSERT_TRUE(ReadPleRows(*store, ids, {0, 30}).ok());
    const PleStoreStats stats = store->stats();
    EXPECT_EQ(stats.block_cache_capacity, bound);
    EXPECT_LE(stats.block_cache_bytes, bound);
    EXPECT_GE(stats.bytes_read, kWide.tokens * kWide.RowBytes());
  }
}

// A prompt larger than the cache does not hold all its rows there at once.
TEST_F(PleStoreTest, BlockCacheKeepsNearItsBoundDuringARead) {
  WriteTable(kWide);
  PleStoreOptions options;
  options.block_cache_bytes = size_t{1} << 20;
  auto store = OpenTable(kWide, options);
  ASSERT_NE(store, nullptr);
  std::atomic<bool> reading{true};
  std::thread reader([&] {
    const auto ids = AllIds(kWide);
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(ReadPleRows(*store, ids, {0, 30}).ok());
    }
    reading = false;
  });
  size_t most = 0;
  while (reading) most = std::max(most, store->stats().block_cache_bytes);
  reader.join();
  EXPECT_GT(most, 0u);
  EXPECT_LE(most, 2 * options.block_cache_bytes);
}

TEST_F(PleStoreTest, RowsInTheCacheAreNotReadAgain) {
  WriteTable(kWide);
  auto store = OpenTable(kWide);
  ASSERT_NE(store, nullptr);
  const auto ids = RandomIds(200, kWide.tokens, 1);
  ASSERT_TRUE(ReadPleRows(*store, ids, {0, 30}).ok());
  const PleStoreStats cold = store->stats();
  ASSERT_TRUE(ReadPleRows(*store, ids, {5, 6}).ok());
  const PleStoreStats warm = store->stats();
  EXPECT_EQ(warm.bytes_read, cold.bytes_read);
  EXPECT_EQ(warm.cache_misses, cold.cache_misses);
  EXPECT_GT(warm.cache_hits, cold.cache_hits);
}

TEST_F(PleStoreTest, DirectReadsLeaveNothingInThePageCache) {
  WriteTable(kWide);
  auto store = OpenTable(kWide);
  ASSERT_NE(store, nullptr);
  if (!store->stats().direct_io) GTEST_SKIP() << folder_ << ": no O_DIRECT";
  ASSERT_TRUE(ReadPleRows(*store, AllIds(kWide), {0, 30}).ok());
  EXPECT_EQ(store->PageCacheBytes(), 0);
}

TEST_F(PleStoreTest, BufferedReadsReportThePageCache) {
  WriteTable(kWide);
  PleStoreOptions options;
  options.direct_io = false;
  auto store = OpenTable(kWide, options);
  ASSERT_NE(store, nullptr);
  ASSERT_TRUE(ReadPleRows(*store, AllIds(kWide), {0, 30}).ok());
  EXPECT_FALSE(store->stats().direct_io);
  EXPECT_GE(store->PageCacheBytes(),
            static_cast<int64_t>(kWide.tokens * kWide.RowBytes()));
}

// ramfs has no O_DIRECT.
TEST_F(PleStoreTest, FileSystemWithoutDirectReads_IsReadBuffered) {
  const std::string ramfs = dir_.File("ramfs");
  const Child child = OnFileSystem("ramfs", "", ramfs, [&ramfs] {
    const std::string folder = ramfs + "/ple";
    const absl::Status written = WritePleTable(folder, kWide);
    EXPECT_TRUE(written.ok()) << written;
    PleStoreOptions options;
    options.direct_io = true;
    options.block_cache_bytes = size_t{1} << 20;
    auto store = PleStore::Open(folder, kWide, options);
    EXPECT_TRUE(store.ok()) << store.status();
    if (!store.ok()) return;
    auto rows = ReadPleRows(**store, AllIds(kWide), {0, 30});
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) return;
    EXPECT_TRUE(*rows == ExpectedPleRows(kWide, AllIds(kWide), {0, 30}));
    EXPECT_FALSE((*store)->stats().direct_io);
  });
  if (child == Child::kCannot) GTEST_SKIP() << "may not mount a ramfs";
  EXPECT_EQ(child, Child::kPassed);
}

// --- Sharing the folder ------------------------------------------------------

TEST_F(PleStoreTest, OpenTwiceAtOnce_BothRead) {
  WriteTable(kNano);
  auto one = OpenTable(kNano);
  auto two = OpenTable(kNano);
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  const auto ids = RandomIds(50, kNano.tokens, 9);
  auto first = ReadPleRows(*one, ids, {0, 10});
  auto second = ReadPleRows(*two, ids, {0, 10});
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(*first == *second);
}

TEST_F(PleStoreTest, ReadingChangesNoFile) {
  WriteTable(kNano);
  const auto before = ContentsOf(folder_);
  for (int i = 0; i < 3; ++i) {
    auto store = OpenTable(kNano);
    ASSERT_NE(store, nullptr);
    ASSERT_TRUE(ReadPleRows(*store, {1, 2, 3}, {0, 10}).ok());
    ASSERT_TRUE(store->VerifyChecksums().ok());
  }
  EXPECT_TRUE(ContentsOf(folder_) == before);
  EXPECT_TRUE(FilesIn(folder_, "LOG", "").empty());
  EXPECT_TRUE(FilesIn(folder_, "", ".unfinished").empty());
}

TEST_F(PleStoreTest, FolderThatMayNotBeWritten_IsRead) {
  WriteTable(kNano);
  for (const std::string& file : FilesIn(folder_, "", "")) {
    fs::permissions(file, fs::perms(0444));
  }
  fs::permissions(folder_, fs::perms(0555));
  const Child child = WithoutPrivileges([this] {
    auto store = PleStore::Open(folder_, kNano, {});
    EXPECT_TRUE(store.ok()) << store.status();
    if (!store.ok()) return;
    auto rows = ReadPleRows(**store, {3071, 0}, {0, 10});
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (rows.ok()) {
      EXPECT_TRUE(*rows == ExpectedPleRows(kNano, {3071, 0}, {0, 10}));
    }
  });
  fs::permissions(folder_, fs::perms(0755));
  if (child == Child::kCannot) GTEST_SKIP() << "cannot drop rights";
  EXPECT_EQ(child, Child::kPassed);
}

TEST_F(PleStoreTest, FolderThatMayNotBeRead_SaysSo) {
  WriteTable(kNano);
  fs::permissions(folder_, fs::perms(0000));
  const Child child = WithoutPrivileges([this] {
    auto store = PleStore::Open(folder_, kNano, {});
    EXPECT_EQ(store.status().code(), absl::StatusCode::kPermissionDenied)
        << store.status();
  });
  fs::permissions(folder_, fs::perms(0755));
  if (child == Child::kCannot) GTEST_SKIP() << "cannot drop rights";
  EXPECT_EQ(child, Child::kPassed);
}

// --- Wrong arguments ---------------------------------------------------------

TEST_F(PleStoreTest, IdsAndLayersOutsideTheTableAreRefused) {
  WriteTable(kNano);
  auto store = OpenTable(kNano);
  ASSERT_NE(store, nullptr);
  std::vector<uint16_t> rows(3 * 160);
  for (int32_t id : {-1, 3072, INT32_MIN, INT32_MAX}) {
    for (const auto& ids :
         {std::vector<int32_t>{id}, std::vector<int32_t>{5, id, 7}}) {
      const absl::Status status = store->Read(ids, {0, 10}, rows.data());
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat(id)))
          << status;
    }
  }
  for (const LayerRange& range :
       {LayerRange{-1, 3}, LayerRange{0, 11}, LayerRange{4, 4},
        LayerRange{6, 5}, LayerRange{10, 12},
        LayerRange{INT64_MIN, INT64_MAX}}) {
    EXPECT_EQ(store->Read({1}, range, rows.data()).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store->Read({1}, range).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(PleStoreTest, MissingFolderIsNotFound) {
  auto store = PleStore::Open(folder_, kNano, {});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(store.status().message(), folder_));
}

TEST_F(PleStoreTest, AnotherShapeIsRefused) {
  WriteTable(kNano);
  for (PleTableShape shape : {PleTableShape{3071, 10, 16, DType::kBf16},
                              PleTableShape{3072, 16, 10, DType::kBf16},
                              PleTableShape{3072, 10, 8, DType::kBf16},
                              PleTableShape{3072, 10, 8, DType::kF32}}) {
    auto store = PleStore::Open(folder_, shape, {});
    EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition)
        << store.status();
    EXPECT_TRUE(absl::StrContains(store.status().message(), folder_));
    EXPECT_TRUE(absl::StrContains(store.status().message(), "tokens=3072"));
  }
}

TEST_F(PleStoreTest, SenselessShapesAreRefused) {
  for (PleTableShape shape :
       {PleTableShape{0, 10, 16, DType::kBf16},
        PleTableShape{3072, -1, 16, DType::kBf16},
        PleTableShape{int64_t{1} << 40, 10, 16, DType::kBf16},
        PleTableShape{3072, int64_t{1} << 30, int64_t{1} << 30, DType::kBf16},
        PleTableShape{3072, 10, 16, static_cast<DType>(77)}}) {
    EXPECT_EQ(PleStoreWriter::Create(folder_, shape, shape.row_dtype())
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(PleStore::Open(folder_, shape, {}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(fs::exists(folder_));
}

}  // namespace
}  // namespace lapidary
