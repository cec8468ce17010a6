// PLE tables with known values, written to disk and opened.
#ifndef LAPIDARY_TESTS_SUPPORT_PLE_TABLE_H_
#define LAPIDARY_TESTS_SUPPORT_PLE_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"
#include "storage/ple_store.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {

// The nano model's rows are 320 B and share blocks; E2B's have blocks of their
// own.
inline constexpr PleTableShape kNano{3072, 10, 16, kernels::DType::kBf16};
inline constexpr PleTableShape kWide{1500, 30, 256, kernels::DType::kBf16};

// Element `column` of row `id`: every row differs, and no two layers of a row
// are equal.
inline uint16_t PleElement(int64_t id, int64_t column) {
  uint64_t mixed = (id * 1000003 + column) * 0x9E3779B97F4A7C15u;
  return static_cast<uint16_t>(mixed >> 40);
}

inline std::vector<uint16_t> PleRows(const PleTableShape& shape, int64_t first,
                                     int64_t count) {
  const int64_t columns = shape.layers * shape.width;
  std::vector<uint16_t> rows(count * columns);
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      rows[row * columns + column] = PleElement(first + row, column);
    }
  }
  return rows;
}

// What ReadPleRows must give.
inline std::vector<uint16_t> ExpectedPleRows(const PleTableShape& shape,
                                             const std::vector<int32_t>& ids,
                                             kernels::text::LayerRange range) {
  std::vector<uint16_t> rows;
  for (int32_t id : ids) {
    for (int64_t column = range.first * shape.width;
         column < range.last * shape.width; ++column) {
      rows.push_back(PleElement(id, column));
    }
  }
  return rows;
}

inline absl::Status WritePleTable(const std::string& folder,
                                  const PleTableShape& shape) {
  auto writer = PleStoreWriter::Create(folder, shape, shape.row_dtype());
  if (!writer.ok()) return writer.status();
  for (int64_t id = 0; id < shape.tokens;) {
    const int64_t count = std::min<int64_t>(257, shape.tokens - id);
    absl::Status status =
        (*writer)->Append(PleRows(shape, id, count).data(), count);
    if (!status.ok()) return status;
    id += count;
  }
  return (*writer)->Finish();
}

inline absl::StatusOr<std::vector<uint16_t>> ReadPleRows(
    PleStore& store, const std::vector<int32_t>& ids,
    kernels::text::LayerRange range) {
  std::vector<uint16_t> rows(ids.size() * range.count() * store.shape().width);
  absl::Status status = store.Read(ids, range, rows.data());
  if (!status.ok()) return status;
  return rows;
}

inline std::vector<int32_t> RandomIds(size_t count, int64_t tokens,
                                      uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = random() % tokens;
  return ids;
}

inline std::vector<int32_t> AllIds(const PleTableShape& shape) {
  std::vector<int32_t> ids(shape.tokens);
  for (int64_t id = 0; id < shape.tokens; ++id) ids[id] = id;
  return ids;
}

// The files of `folder` whose names begin with `prefix` and end with `suffix`.
inline std::vector<std::string> FilesIn(const std::string& folder,
                                        const std::string& prefix,
                                        const std::string& suffix) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (absl::StartsWith(name, prefix) && absl::EndsWith(name, suffix)) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Name, size, time and bytes of every file.
inline std::vector<std::string> ContentsOf(const std::string& folder) {
  std::vector<std::string> contents;
  for (const std::string& file : FilesIn(folder, "", "")) {
    contents.push_back(absl::StrCat(
        file, " ",
        std::filesystem::last_write_time(file).time_since_epoch().count(), " ",
        ReadBytes(file)));
  }
  return contents;
}

class PleStoreTest : public testing::Test {
 protected:
  void WriteTable(const PleTableShape& shape) {
    const absl::Status status = WritePleTable(folder_, shape);
    ASSERT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<PleStore> OpenTable(const PleTableShape& shape,
                                      const PleStoreOptions& options = {}) {
    auto store = PleStore::Open(folder_, shape, options);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  TempDir dir_;
  const std::string folder_ = dir_.File("ple");
};

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_PLE_TABLE_H_
