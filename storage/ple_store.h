// The per-layer embedding (PLE) table on disk: RocksDB, one key a token, one
// value with that token's row for every layer.
//
//   key    token id, 4 bytes big-endian (so ids are in key order)
//   value  the row, as ple_row.h stores it
//
//   auto store = PleStore::Open(folder, options);
//   store->Read(ids, {0, 30}, rows);     // one MultiGet for a whole prompt
//
// Reading never makes the table resident: the block cache and what the
// operating system may keep of the files are both bounded by the options and
// reported by stats() and PageCacheBytes().
#ifndef LAPIDARY_STORAGE_PLE_STORE_H_
#define LAPIDARY_STORAGE_PLE_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"
#include "storage/ple_row.h"

namespace lapidary {

struct PleStoreOptions {
  // Bytes of RocksDB's block cache (index and filter blocks included), and so
  // of the table that the process keeps. Default 64 MiB.
  size_t block_cache_bytes = size_t{64} << 20;
  // True: files are read past the operating system's page cache, so that
  // nothing of the table stays in memory but the block cache. False: the
  // operating system caches what it likes (it counts as reclaimable memory).
  bool direct_io = true;
};

struct PleStoreStats {
  uint64_t reads = 0;            // calls of Read
  uint64_t rows = 0;             // rows returned
  uint64_t cache_hits = 0;       // data blocks found in the block cache
  uint64_t cache_misses = 0;     // data blocks read from disk
  uint64_t bytes_read = 0;       // from the files
  size_t block_cache_bytes = 0;  // in use now
  size_t block_cache_capacity = 0;
  // Whether files are read past the page cache. False although asked for where
  // the file system cannot (tmpfs): the page cache is then emptied before it
  // holds more than block_cache_capacity of the table.
  bool direct_io = false;
  // Microseconds of a Read call.
  double read_us_p50 = 0, read_us_p99 = 0, read_us_max = 0;
  // Upper bounds in microseconds and counts of the latency histogram.
  std::vector<std::pair<double, uint64_t>> latency_histogram;
};

class PleStore {
 public:
  // Opens a table read-only; checks that its recorded shape is `shape`.
  // Errors: NOT_FOUND, DATA_LOSS (damaged files), FAILED_PRECONDITION (another
  // shape), each naming the folder and the remedy.
  static absl::StatusOr<std::unique_ptr<PleStore>> Open(
      const std::string& folder, const PleTableShape& shape,
      const PleStoreOptions& options);
  ~PleStore();

  const PleTableShape& shape() const;

  // Reads the rows of `ids` for the layers of `range`.
  //   ids   each in [0, shape().tokens); repeats allowed, read once
  //   rows  [ids.size()][range.count()][width] of shape().row_dtype()
  // Errors: INVALID_ARGUMENT (id or range), DATA_LOSS (checksum, missing or
  // short row; names the id). Thread-safe.
  absl::Status Read(absl::Span<const int32_t> ids,
                    kernels::text::LayerRange range, void* rows);

  // The same into a fresh tensor [ids][layers][width].
  absl::StatusOr<kernels::Tensor> Read(absl::Span<const int32_t> ids,
                                       kernels::text::LayerRange range);

  PleStoreStats stats() const;

  // Bytes of the files in the operating system's page cache now; -1 where it
  // does not tell this user (it tells owners and those who may write). The
  // kernel looks at every page: E2B's table takes some 60 ms.
  int64_t PageCacheBytes() const;

  // Reads every block and verifies its checksum.
  absl::Status VerifyChecksums();

 private:
  struct Impl;
  explicit PleStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Writes a table in sorted order into SST files and hands them to a new
// database in one ingestion.
class PleStoreWriter {
 public:
  // `folder` must not exist; its parent must. `source` is the dtype of the rows
  // that Append gets: kF32 or kBf16.
  static absl::StatusOr<std::unique_ptr<PleStoreWriter>> Create(
      const std::string& folder, const PleTableShape& shape,
      kernels::DType source);
  ~PleStoreWriter();

  // The next tokens' rows: [count][layers][width] of the source's dtype.
  // INVALID_ARGUMENT for a number that the table's dtype cannot hold.
  absl::Status Append(const void* rows, int64_t count);

  // All rows must have been appended. Durable (synced) when it returns.
  absl::Status Finish();

 private:
  struct Impl;
  explicit PleStoreWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PLE_STORE_H_
