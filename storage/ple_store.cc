#include "storage/ple_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/statistics.h"
#include "rocksdb/table_properties.h"
#include "storage/latency_histogram.h"
#include "storage/page_cache.h"
#include "storage/ple_format.h"

namespace lapidary {
namespace {

using kernels::text::LayerRange;

// The values of one MultiGet stay in the block cache until they are copied,
// whether or not they fit its bound. This many bytes of them (a prompt of 512
// tokens of E2B) go into one MultiGet, and at most a quarter of the cache.
constexpr size_t kPinnedBytes = size_t{8} << 20;

// RocksDB itself walks a MultiGet in batches of 32 keys.
constexpr size_t kFewestKeys = 32;

size_t KeysOfOneMultiGet(size_t row_bytes, size_t cache_bytes) {
  const size_t bytes = std::min(kPinnedBytes, cache_bytes / 4);
  return std::max(kFewestKeys, bytes / row_bytes);
}

std::shared_ptr<rocksdb::Cache> MakeBlockCache(size_t bytes) {
  rocksdb::LRUCacheOptions options;
  options.capacity = bytes;
  // A shard's bound is its part of the capacity: too many shards and the
  // popular rows of one push each other out while another has room. 8 MiB are
  // some 500 rows.
  options.num_shard_bits = 0;
  for (size_t shard = bytes; shard >= (size_t{16} << 20); shard /= 2) {
    if (options.num_shard_bits == 4) break;
    ++options.num_shard_bits;
  }
  // Index blocks are wanted for every row: they outlive rows.
  options.high_pri_pool_ratio = 0.5;
  return rocksdb::NewLRUCache(options);
}

absl::Status CheckFolder(const std::string& folder) {
  struct stat info;
  const int error = stat(folder.c_str(), &info) == 0 ? 0 : errno;
  if (error == EACCES) {
    return absl::PermissionDeniedError(
        absl::StrCat("PLE table ", folder, ": ", std::strerror(error),
                     "; give this user access to the folder"));
  }
  if (error != 0 || !S_ISDIR(info.st_mode)) {
    return absl::NotFoundError(absl::StrCat(
        "PLE table ", folder, ": no such folder; pack the model again"));
  }
  if (stat((folder + "/CURRENT").c_str(), &info) != 0 && errno == ENOENT) {
    return absl::DataLossError(absl::StrCat(
        "PLE table ", folder,
        ": CURRENT is missing, so writing it was not finished or files were "
        "removed; pack the model again"));
  }
  return absl::OkStatus();
}

}  // namespace

struct PleStore::Impl {
  using Clock = std::chrono::steady_clock;

  Impl(const std::string& folder, const PleTableShape& shape,
       const PleStoreOptions& store_options)
      : folder(folder),
        shape(shape),
        keys_of_one_multi_get(KeysOfOneMultiGet(
            shape.StoredRowBytes(), store_options.block_cache_bytes)),
        cache(MakeBlockCache(store_options.block_cache_bytes)),
        statistics(rocksdb::CreateDBStatistics()),
        direct_io(store_options.direct_io &&
                  CanReadDirect(folder + "/CURRENT")),
        bound_page_cache(store_options.direct_io && !direct_io) {
    // Counters only: histograms and timers would read the clock several times
    // a row.
    statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  }

  std::string What() const { return absl::StrCat("PLE table ", folder); }

  absl::Status OpenDb() {
    rocksdb::Options options = PleDbOptions(PleTableOptions(cache));
    options.statistics = statistics;
    options.use_direct_reads = direct_io;
    // Where the page cache is used, no read-ahead: rows are asked for at
    // random.
    options.advise_random_on_open = true;
    // All files stay open: E2B's 16 keep 30 KB beside the block cache. One
    // that was closed would cost three more reads when it is opened again.
    options.max_open_files = -1;
    options.max_file_opening_threads = 1;
    options.skip_stats_update_on_db_open = true;
    rocksdb::DB* opened = nullptr;
    rocksdb::Status status = rocksdb::DB::OpenForReadOnly(
        options, folder, &opened, /*error_if_wal_file_exists=*/false);
    if (!status.ok()) return PleReadError(status, What());
    db.reset(opened);
    return absl::OkStatus();
  }

  // Whether the database holds a finished table of the wanted shape.
  absl::Status CheckTable() {
    std::string record;
    rocksdb::Status status =
        db->Get(read_options, rocksdb::Slice(kPleShapeKey), &record);
    if (status.IsNotFound()) {
      return absl::DataLossError(absl::StrCat(
          What(),
          " has no shape record, so writing it was not finished or it is "
          "damaged; pack the model again"));
    }
    if (!status.ok()) return PleReadError(status, What());
    const std::string wanted = PleShapeRecord(shape);
    if (record != wanted) {
      return absl::FailedPreconditionError(absl::StrCat(
          What(), " is \"", record.substr(0, 200), "\", the model needs \"",
          wanted, "\"; pack the model again"));
    }
    return CheckEntries();
  }

  // A manifest that lost a file would show as missing rows only when somebody
  // asks for them.
  absl::Status CheckEntries() {
    rocksdb::TablePropertiesCollection properties;
    rocksdb::Status status = db->GetPropertiesOfAllTables(&properties);
    if (!status.ok()) return PleReadError(status, What());
    uint64_t entries = 0;
    for (const auto& [file, table] : properties) entries += table->num_entries;
    const uint64_t wanted = static_cast<uint64_t>(shape.tokens) + 1;
    if (entries == wanted) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(What(), ": its files hold ",
                                            entries, " entries instead of ",
                                            wanted, "; pack the model again"));
  }

  void WatchPageCache() {
    std::vector<rocksdb::LiveFileMetaData> live;
    db->GetLiveFilesMetaData(&live);
    std::vector<std::string> paths;
    for (const auto& file : live) paths.push_back(file.db_path + file.name);
    page_cache = std::make_unique<PageCache>(paths);
    // What packing or copying the model left there.
    if (direct_io || bound_page_cache) page_cache->Drop();
  }

  // Where the file system has no direct reads the page cache fills behind our
  // back: it is emptied whenever it may have reached the block cache's size.
  void BoundPageCache(size_t rows) {
    const uint64_t bytes = rows * shape.StoredRowBytes();
    const uint64_t before = bytes_since_drop.fetch_add(bytes);
    if (before + bytes < cache->GetCapacity()) return;
    bytes_since_drop.store(0);
    page_cache->Drop();
  }

  absl::Status CheckRow(int32_t id, const rocksdb::Status& status,
                        const rocksdb::Slice& row) const {
    if (status.ok() && row.size() == shape.StoredRowBytes()) {
      return absl::OkStatus();
    }
    const std::string what = absl::StrCat(What(), ", token ", id);
    if (status.IsNotFound()) {
      return absl::DataLossError(
          absl::StrCat(what, ": the row is missing; pack the model again"));
    }
    if (!status.ok()) return PleReadError(status, what);
    return absl::DataLossError(
        absl::StrCat(what, ": the row has ", row.size(), " bytes instead of ",
                     shape.StoredRowBytes(), "; pack the model again"));
  }

  absl::Status ReadRows(absl::Span<const int32_t> ids, LayerRange range,
                        char* rows);

  const std::string folder;
  const PleTableShape shape;
  const size_t keys_of_one_multi_get;
  const std::shared_ptr<rocksdb::Cache> cache;
  const std::shared_ptr<rocksdb::Statistics> statistics;
  const bool direct_io;
  const bool bound_page_cache;
  const rocksdb::ReadOptions read_options;  // verifies checksums by default
  std::unique_ptr<rocksdb::DB> db;
  std::unique_ptr<PageCache> page_cache;
  std::atomic<uint64_t> bytes_since_drop{0};
  std::atomic<uint64_t> rows_read{0};
  LatencyHistogram latency;
};

// In the order of the keys, as RocksDB wants them, each id once; every row is
// copied from the cached block to each place that wants it. One token too is a
// MultiGet: a Get takes 1 µs less, of some 80 µs of a row from disk, but
// RocksDB 7.8 does not count its hits and misses.
absl::Status PleStore::Impl::ReadRows(absl::Span<const int32_t> ids,
                                      LayerRange range, char* rows) {
  const size_t bytes = shape.RowBytes() / shape.layers * range.count();
  std::vector<size_t> order(ids.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [ids](size_t a, size_t b) { return ids[a] < ids[b]; });

  const size_t most = std::min(ids.size(), keys_of_one_multi_get);
  std::vector<PleKey> keys;
  keys.reserve(most);  // slices point into it
  std::vector<rocksdb::Slice> slices;
  slices.reserve(most);
  std::vector<rocksdb::PinnableSlice> values(most);
  std::vector<rocksdb::Status> statuses(most);

  for (size_t begin = 0; begin < order.size();) {
    keys.clear();
    slices.clear();
    size_t end = begin;
    for (; end < order.size(); ++end) {
      const int32_t id = ids[order[end]];
      if (end > begin && id == ids[order[end - 1]]) continue;
      if (keys.size() == most) break;
      keys.emplace_back(id);
      slices.push_back(keys.back().slice());
    }
    db->MultiGet(read_options, db->DefaultColumnFamily(), slices.size(),
                 slices.data(), values.data(), statuses.data(),
                 /*sorted_input=*/true);
    size_t value = 0;
    for (size_t i = begin; i < end; ++i) {
      const int32_t id = ids[order[i]];
      if (i > begin && id != ids[order[i - 1]]) ++value;
      absl::Status status = CheckRow(id, statuses[value], values[value]);
      if (!status.ok()) return status;
      DecodePleRow(shape, range, values[value].data(), rows + order[i] * bytes);
    }
    for (rocksdb::PinnableSlice& pinned : values) pinned.Reset();
    begin = end;
  }
  return absl::OkStatus();
}

PleStore::PleStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PleStore::~PleStore() = default;

absl::StatusOr<std::unique_ptr<PleStore>> PleStore::Open(
    const std::string& folder, const PleTableShape& shape,
    const PleStoreOptions& options) {
  absl::Status status = CheckPleShape(shape);
  if (status.ok()) status = CheckFolder(folder);
  if (!status.ok()) return status;
  auto impl = std::make_unique<Impl>(folder, shape, options);
  status = impl->OpenDb();
  if (status.ok()) status = impl->CheckTable();
  if (!status.ok()) return status;
  impl->WatchPageCache();
  return std::unique_ptr<PleStore>(new PleStore(std::move(impl)));
}

const PleTableShape& PleStore::shape() const { return impl_->shape; }

absl::Status PleStore::Read(absl::Span<const int32_t> ids, LayerRange range,
                            void* rows) {
  const PleTableShape& shape = impl_->shape;
  if (range.first < 0 || range.first >= range.last ||
      range.last > shape.layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("layers [", range.first, ", ", range.last,
                     ") of a PLE table with ", shape.layers, " layers"));
  }
  for (int32_t id : ids) {
    if (id < 0 || id >= shape.tokens) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", id, " is not in [0, ", shape.tokens,
                       "), the PLE table's tokens"));
    }
  }
  const Impl::Clock::time_point start = Impl::Clock::now();
  absl::Status status = impl_->ReadRows(ids, range, static_cast<char*>(rows));
  if (impl_->bound_page_cache) impl_->BoundPageCache(ids.size());
  if (!status.ok()) return status;
  impl_->rows_read.fetch_add(ids.size(), std::memory_order_relaxed);
  impl_->latency.Record(
      std::chrono::duration<double, std::micro>(Impl::Clock::now() - start)
          .count());
  return absl::OkStatus();
}

absl::StatusOr<kernels::Tensor> PleStore::Read(absl::Span<const int32_t> ids,
                                               LayerRange range) {
  // A range that is out of bounds must not size the buffer.
  const int64_t layers =
      std::clamp(range.last, int64_t{0}, impl_->shape.layers) -
      std::clamp(range.first, int64_t{0}, impl_->shape.layers);
  const size_t row_bytes = impl_->shape.RowBytes() / impl_->shape.layers *
                           std::max(int64_t{0}, layers);
  auto buffer = kernels::AlignedBuffer::Make(ids.size() * row_bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "no memory for ", ids.size(), " PLE rows of ", row_bytes, " bytes"));
  }
  absl::Status status = Read(ids, range, buffer->data());
  if (!status.ok()) return status;
  return kernels::Tensor(
      impl_->shape.row_dtype(),
      {static_cast<int64_t>(ids.size()), range.count(), impl_->shape.width},
      std::move(buffer));
}

PleStoreStats PleStore::stats() const {
  const rocksdb::Statistics& tickers = *impl_->statistics;
  const LatencyHistogram::Counts latency = impl_->latency.Take();
  PleStoreStats stats;
  stats.reads = latency.total();
  stats.rows = impl_->rows_read.load(std::memory_order_relaxed);
  stats.cache_hits = tickers.getTickerCount(rocksdb::BLOCK_CACHE_DATA_HIT);
  stats.cache_misses = tickers.getTickerCount(rocksdb::BLOCK_CACHE_DATA_MISS);
  stats.bytes_read = tickers.getTickerCount(rocksdb::LAST_LEVEL_READ_BYTES) +
                     tickers.getTickerCount(rocksdb::NON_LAST_LEVEL_READ_BYTES);
  stats.block_cache_bytes = impl_->cache->GetUsage();
  stats.block_cache_capacity = impl_->cache->GetCapacity();
  stats.direct_io = impl_->direct_io;
  stats.read_us_p50 = latency.Percentile(0.50);
  stats.read_us_p99 = latency.Percentile(0.99);
  stats.read_us_max = latency.max;
  for (size_t i = 0; i < LatencyHistogram::kBuckets; ++i) {
    stats.latency_histogram.emplace_back(LatencyHistogram::UpperBound(i),
                                         latency.buckets[i]);
  }
  return stats;
}

int64_t PleStore::PageCacheBytes() const {
  return impl_->page_cache->ResidentBytes();
}

absl::Status PleStore::VerifyChecksums() {
  const rocksdb::Status status = impl_->db->VerifyChecksum();
  if (!status.ok()) return PleReadError(status, impl_->What());
  return absl::OkStatus();
}

}  // namespace lapidary
