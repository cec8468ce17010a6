#include "storage/ple_format.h"

#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/env.h"

namespace lapidary {
namespace {

constexpr absl::string_view kPackAgain = "; pack the model again";

// Without a logger RocksDB writes a LOG file into the table's folder, even
// when it only reads.
class SilentLogger : public rocksdb::Logger {
 public:
  SilentLogger() : Logger(rocksdb::InfoLogLevel::HEADER_LEVEL) {}
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// RocksDB gives the errno only as text.
bool Says(const rocksdb::Status& status, absl::string_view text) {
  return absl::StrContains(status.ToString(), text);
}

// The errors that say nothing about the table's bytes; OK for any other.
absl::Status EnvironmentError(const rocksdb::Status& status,
                              absl::string_view what) {
  if (status.IsNoSpace() || Says(status, "No space left") ||
      Says(status, "Disk quota exceeded")) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": the disk is full (", status.ToString(),
                     "); free some space and pack the model again"));
  }
  if (Says(status, "Too many open files")) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", status.ToString(),
                     "; raise the limit of open files (ulimit -n)"));
  }
  if (status.IsMemoryLimit()) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", status.ToString()));
  }
  if (Says(status, "Permission denied") ||
      Says(status, "Operation not permitted")) {
    return absl::PermissionDeniedError(
        absl::StrCat(what, ": ", status.ToString(),
                     "; give this user access to the folder"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string PleShapeRecord(const PleTableShape& shape) {
  return absl::StrCat("lapidary-ple-1 tokens=", shape.tokens,
                      " layers=", shape.layers, " width=", shape.width,
                      " dtype=", kernels::NameOf(shape.dtype));
}

absl::Status CheckPleShape(const PleTableShape& shape) {
  const int64_t most = std::numeric_limits<int32_t>::max();
  const int64_t element = kernels::SizeOf(shape.row_dtype());
  const bool sane = shape.tokens > 0 && shape.tokens <= most &&
                    shape.layers > 0 && shape.layers <= most &&
                    shape.width > 0 && shape.width <= most && element > 0 &&
                    shape.layers <= most / element / shape.width;
  if (sane) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "PLE table of ", shape.tokens, " tokens, ", shape.layers, " layers of ",
      shape.width, " ", kernels::NameOf(shape.dtype),
      ": every number must be positive, tokens at most ", most,
      " and a row shorter than 2 GiB"));
}

rocksdb::BlockBasedTableOptions PleTableOptions(
    std::shared_ptr<rocksdb::Cache> block_cache) {
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = block_cache == nullptr;
  table.cache_index_and_filter_blocks = block_cache != nullptr;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.block_cache = std::move(block_cache);
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  // A row longer than this has a block of its own (E2B: 15.4 KB), so that
  // nothing but the row is read and cached for it; the test models' short rows
  // share one. A row cache has nothing to add then: with 64 MiB, Zipf-1 tokens
  // and E2B's table, the block cache alone went to disk for 0.43 of the rows;
  // with half of the bytes in RocksDB's row cache, for 0.50.
  table.block_size = 4096;
  // Blocks aligned to the disk's pages would be read in 4 pages instead of 4
  // or 5. Measured, a row took the same 81 µs, for 6 % (E2B) or 14 % (E4B) more
  // disk.
  table.block_align = false;
  // The index is in the block cache, and partitioned, so that pieces of it come
  // and go inside the cache's bound at any size of it. Sharing prefixes among
  // 16 keys, not 1, makes it 1.25 MB for E2B instead of 4.2: a cache of 4 MiB
  // then reads 0.79 blocks a token from disk instead of 1.18.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.metadata_block_size = 4096;
  table.index_block_restart_interval = 16;
  // Every id exists: a filter would never say no.
  table.filter_policy = nullptr;
  return table;
}

rocksdb::Options PleDbOptions(
    const rocksdb::BlockBasedTableOptions& table_options) {
  rocksdb::Options options;
  options.table_factory.reset(
      rocksdb::NewBlockBasedTableFactory(table_options));
  // The mantissas of weights are noise: bf16 rows do not compress.
  options.compression = rocksdb::kNoCompression;
  options.bottommost_compression = rocksdb::kNoCompression;
  options.disable_auto_compactions = true;
  options.info_log = std::make_shared<SilentLogger>();
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.paranoid_checks = true;
  return options;
}

absl::Status PleReadError(const rocksdb::Status& status,
                          absl::string_view what) {
  absl::Status environment = EnvironmentError(status, what);
  if (!environment.ok()) return environment;
  if (Says(status, "Input/output error")) {
    return absl::DataLossError(absl::StrCat(
        what, ": ", status.ToString(),
        "; the disk fails: look at the system's log, move the model to another "
        "disk or pack it again"));
  }
  return absl::DataLossError(
      absl::StrCat(what, ": ", status.ToString(), kPackAgain));
}

absl::Status PleWriteError(const rocksdb::Status& status,
                           absl::string_view what) {
  absl::Status environment = EnvironmentError(status, what);
  if (!environment.ok()) return environment;
  return absl::InternalError(absl::StrCat(what, ": ", status.ToString()));
}

}  // namespace lapidary
