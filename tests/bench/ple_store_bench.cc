// How near the PLE store comes to the disk: rows at random from a table that
// no cache holds, beside plain direct preads of as many bytes at random
// offsets of the same files, in turns.
//
//   ple_store_bench FOLDER [TOKENS]
//
// FOLDER is made, filled with E2B's row shape (TOKENS rows of 15,360 B; default
// 65,536, which is 1 GB; E2B has 262,144) and left there; a folder that exists
// is measured as it is.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "storage/ple_store.h"

namespace lapidary {
namespace {

constexpr int kWarmUp = 3000;  // brings the index into the block cache
constexpr int kSingles = 3000;
constexpr int kPrompts = 20;
constexpr int kPromptTokens = 512;

double NowMicros() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <typename Call>
double Micros(Call call) {
  const double start = NowMicros();
  call();
  return NowMicros() - start;
}

[[noreturn]] void Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

void WriteTable(const std::string& folder, const PleTableShape& shape) {
  auto writer = PleStoreWriter::Create(folder, shape, kernels::DType::kBf16);
  if (!writer.ok()) Fail(writer.status());
  std::mt19937_64 random(1);
  std::vector<uint64_t> row(shape.RowBytes() / sizeof(uint64_t));
  const double micros = Micros([&] {
    for (int64_t id = 0; id < shape.tokens; ++id) {
      for (uint64_t& word : row) word = random();
      absl::Status status = (*writer)->Append(row.data(), 1);
      if (!status.ok()) Fail(status);
    }
    absl::Status status = (*writer)->Finish();
    if (!status.ok()) Fail(status);
  });
  const double bytes = static_cast<double>(shape.tokens) * shape.RowBytes();
  std::printf("written and synced: %.2f GB at %.0f MB/s\n", bytes / 1e9,
              bytes / micros);
}

// Direct preads of `bytes`, rounded up to whole pages, at random pages.
class RawReads {
 public:
  RawReads(const std::string& folder, size_t bytes)
      : bytes_((bytes + 4095) / 4096 * 4096),
        buffer_(static_cast<char*>(std::aligned_alloc(4096, bytes_))) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".sst") continue;
      if (entry.file_size() <= bytes_) continue;
      const int fd = open(entry.path().c_str(), O_RDONLY | O_DIRECT);
      if (fd < 0) Fail(absl::UnavailableError("no direct reads here"));
      files_.push_back({fd, (entry.file_size() - bytes_) / 4096});
    }
    if (files_.empty()) Fail(absl::NotFoundError("no large SST files"));
  }

  void One() {
    const auto& [fd, pages] = files_[random_() % files_.size()];
    const off_t offset = random_() % pages * 4096;
    if (pread(fd, buffer_, bytes_, offset) != static_cast<ssize_t>(bytes_)) {
      Fail(absl::DataLossError("short pread"));
    }
  }

 private:
  size_t bytes_;
  char* buffer_;
  std::vector<std::pair<int, uint64_t>> files_;
  std::mt19937_64 random_{2};
};

// Medians in microseconds a row.
void Report(const char* what, std::vector<double> store,
            std::vector<double> raw) {
  std::sort(store.begin(), store.end());
  std::sort(raw.begin(), raw.end());
  const size_t half = store.size() / 2;
  const size_t most = store.size() * 99 / 100;
  std::printf(
      "%-24s store %7.1f us/row (p99 %.1f), %6.0f rows/s; pread %7.1f us/row; "
      "ratio %.2f\n",
      what, store[half], store[most], 1e6 / store[half], raw[half],
      store[half] / raw[half]);
}

void Measure(const std::string& folder, const PleTableShape& shape) {
  PleStoreOptions options;
  auto opened = PleStore::Open(folder, shape, options);
  if (!opened.ok()) Fail(opened.status());
  PleStore& store = **opened;
  RawReads raw(folder, shape.StoredRowBytes());
  const kernels::text::LayerRange all{0, shape.layers};
  std::vector<char> rows(kPromptTokens * shape.RowBytes());
  std::mt19937 random(std::random_device{}());
  auto read = [&](int count) {
    std::vector<int32_t> ids(count);
    for (int32_t& id : ids) id = random() % shape.tokens;
    absl::Status status = store.Read(ids, all, rows.data());
    if (!status.ok()) Fail(status);
  };
  for (int i = 0; i < kWarmUp; ++i) read(1);

  std::vector<double> mine, disk;
  for (int i = 0; i < kSingles; ++i) {
    mine.push_back(Micros([&] { read(1); }));
    disk.push_back(Micros([&] { raw.One(); }));
  }
  Report("random token, cold", mine, disk);

  mine.clear();
  disk.clear();
  for (int i = 0; i < kPrompts; ++i) {
    mine.push_back(Micros([&] { read(kPromptTokens); }) / kPromptTokens);
    disk.push_back(Micros([&] {
                     for (int j = 0; j < kPromptTokens; ++j) raw.One();
                   }) /
                   kPromptTokens);
  }
  Report("512-token prompt, cold", mine, disk);

  std::vector<double> hits;
  for (int i = 0; i < kSingles; ++i) {
    const int32_t id = i % 100;
    hits.push_back(Micros([&] { (void)store.Read({id}, all, rows.data()); }));
  }
  std::sort(hits.begin(), hits.end());
  std::printf("%-24s store %7.1f us/row\n", "token in block cache",
              hits[kSingles / 2]);

  const PleStoreStats stats = store.stats();
  int64_t page_cache = 0;
  const double ask = Micros([&] { page_cache = store.PageCacheBytes(); });
  std::printf(
      "%llu rows, %llu hits, %llu misses, %.2f GB read, block cache %.1f of "
      "%.1f MB, page cache %.1f MB (asked in %.0f us), direct I/O %s\n",
      static_cast<unsigned long long>(stats.rows),
      static_cast<unsigned long long>(stats.cache_hits),
      static_cast<unsigned long long>(stats.cache_misses),
      stats.bytes_read / 1e9, stats.block_cache_bytes / 1e6,
      stats.block_cache_capacity / 1e6, page_cache / 1e6, ask,
      stats.direct_io ? "on" : "off");
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "ple_store_bench FOLDER [TOKENS]\n");
    return 2;
  }
  const std::string folder = argv[1];
  lapidary::PleTableShape shape{65536, 30, 256,
                                lapidary::kernels::DType::kBf16};
  if (argc > 2) shape.tokens = std::atoll(argv[2]);
  if (!std::filesystem::exists(folder)) lapidary::WriteTable(folder, shape);
  lapidary::Measure(folder, shape);
  return 0;
}
