// Writes the PLE table: rows arrive in the order of their keys, so they go
// straight into SST files, which the database then takes over as they are.
// RocksDB's write path (log, memtable, compaction) never sees a row, and
// memory holds one file's index and a write buffer.

#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "rocksdb/db.h"
#include "rocksdb/sst_file_writer.h"
#include "storage/file_io.h"
#include "storage/ple_format.h"
#include "storage/ple_store.h"

namespace lapidary {
namespace {

// E2B's table is then 16 files: few enough to keep all of them open.
constexpr uint64_t kFileBytes = uint64_t{256} << 20;

std::string WithoutTrailingSlashes(std::string folder) {
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  return folder;
}

}  // namespace

struct PleStoreWriter::Impl {
  Impl(std::string folder, const PleTableShape& shape, kernels::DType source)
      : folder(std::move(folder)),
        shape(shape),
        source(source),
        options(PleDbOptions(PleTableOptions(nullptr))) {
    // Written back bit by bit, so that Finish has little left to sync.
    env_options.bytes_per_sync = uint64_t{1} << 20;
  }

  std::string What() const { return absl::StrCat("PLE table ", folder); }

  absl::Status StartFile() {
    // Not named *.sst: the database must not take it for its own before it
    // has ingested it.
    files.push_back(
        absl::StrFormat("%s/rows-%05d.unfinished", folder, files.size()));
    // The last argument drops what was written from the page cache.
    file = std::make_unique<rocksdb::SstFileWriter>(
        env_options, options, /*column_family=*/nullptr,
        /*invalidate_page_cache=*/true);
    return Told(file->Open(files.back()));
  }

  absl::Status FinishFile() {
    absl::Status status = Told(file->Finish());
    file.reset();
    return status;
  }

  absl::Status Put(rocksdb::Slice key, rocksdb::Slice value) {
    if (file != nullptr && file->FileSize() >= kFileBytes) {
      absl::Status status = FinishFile();
      if (!status.ok()) return status;
    }
    if (file == nullptr) {
      absl::Status status = StartFile();
      if (!status.ok()) return status;
    }
    return Told(file->Put(key, value));
  }

  // One ingestion of all files: the database has the whole table or nothing.
  absl::Status Ingest() {
    rocksdb::Options db_options = options;
    db_options.create_if_missing = true;
    db_options.error_if_exists = true;
    rocksdb::DB* opened = nullptr;
    absl::Status status = Told(rocksdb::DB::Open(db_options, folder, &opened));
    if (!status.ok()) return status;
    std::unique_ptr<rocksdb::DB> db(opened);

    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    ingest.snapshot_consistency = false;
    ingest.allow_blocking_flush = false;
    ingest.fail_if_not_bottommost_level = true;
    status = Told(db->IngestExternalFile(files, ingest));
    if (!status.ok()) return status;
    return Told(db->Close());
  }

  absl::Status Told(const rocksdb::Status& status) const {
    if (status.ok()) return absl::OkStatus();
    return PleWriteError(status, What());
  }

  const std::string folder;
  const PleTableShape shape;
  const kernels::DType source;
  const rocksdb::Options options;
  rocksdb::EnvOptions env_options;
  std::unique_ptr<rocksdb::SstFileWriter> file;  // the one being written
  std::vector<std::string> files;
  int64_t appended = 0;
  absl::Status failed;  // the first error: nothing is written after it
  bool finished = false;
};

PleStoreWriter::PleStoreWriter(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

PleStoreWriter::~PleStoreWriter() = default;

absl::StatusOr<std::unique_ptr<PleStoreWriter>> PleStoreWriter::Create(
    const std::string& folder, const PleTableShape& shape,
    kernels::DType source) {
  absl::Status status = CheckPleShape(shape);
  if (!status.ok()) return status;
  const std::string path = WithoutTrailingSlashes(folder);
  if (mkdir(path.c_str(), 0755) != 0) {
    return FileError(errno, "cannot make the PLE table's folder", path);
  }
  return std::unique_ptr<PleStoreWriter>(
      new PleStoreWriter(std::make_unique<Impl>(path, shape, source)));
}

absl::Status PleStoreWriter::Append(const void* rows, int64_t count) {
  if (!impl_->failed.ok()) return impl_->failed;
  if (impl_->finished) {
    return absl::FailedPreconditionError(
        absl::StrCat(impl_->What(), " is finished: it takes no more rows"));
  }
  if (count < 0 || count > impl_->shape.tokens - impl_->appended) {
    return absl::InvalidArgumentError(absl::StrCat(
        impl_->What(), ": ", count, " rows after ", impl_->appended,
        ", but the table has ", impl_->shape.tokens));
  }
  const PleTableShape& shape = impl_->shape;
  const size_t source_bytes =
      shape.layers * shape.width * kernels::SizeOf(impl_->source);
  std::vector<char> stored(shape.StoredRowBytes());
  const char* row = static_cast<const char*>(rows);
  for (int64_t i = 0; i < count; ++i, row += source_bytes) {
    if (!EncodePleRow(shape, impl_->source, row, stored.data())) {
      impl_->failed = absl::InvalidArgumentError(absl::StrCat(
          impl_->What(), ", token ", impl_->appended,
          ": a number is not finite, which ", kernels::NameOf(shape.dtype),
          " cannot hold; is the checkpoint damaged? --ple-dtype=bf16 takes it "
          "as it is"));
      return impl_->failed;
    }
    const PleKey key(static_cast<int32_t>(impl_->appended));
    impl_->failed = impl_->Put(key.slice(), {stored.data(), stored.size()});
    if (!impl_->failed.ok()) return impl_->failed;
    ++impl_->appended;
  }
  return absl::OkStatus();
}

absl::Status PleStoreWriter::Finish() {
  if (!impl_->failed.ok()) return impl_->failed;
  if (impl_->finished) return absl::OkStatus();
  if (impl_->appended != impl_->shape.tokens) {
    return absl::FailedPreconditionError(
        absl::StrCat(impl_->What(), ": ", impl_->appended, " rows of ",
                     impl_->shape.tokens, " were appended"));
  }
  auto finish = [this]() -> absl::Status {
    absl::Status status =
        impl_->Put(rocksdb::Slice(kPleShapeKey), PleShapeRecord(impl_->shape));
    if (status.ok()) status = impl_->FinishFile();
    if (status.ok()) status = impl_->Ingest();
    if (status.ok()) status = SyncFolder(impl_->folder);
    if (status.ok()) status = SyncFolder(ParentFolder(impl_->folder));
    return status;
  };
  impl_->failed = finish();
  impl_->finished = impl_->failed.ok();
  return impl_->failed;
}

}  // namespace lapidary
