// How the PLE table lies in RocksDB: what its writer and its reader must agree
// on, and how RocksDB's errors are told.
#ifndef LAPIDARY_STORAGE_PLE_FORMAT_H_
#define LAPIDARY_STORAGE_PLE_FORMAT_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/options.h"
#include "rocksdb/slice.h"
#include "rocksdb/status.h"
#include "rocksdb/table.h"
#include "storage/ple_row.h"

namespace lapidary {

// A token's key: big-endian, so that keys sort as ids do.
class PleKey {
 public:
  explicit PleKey(int32_t id)
      : bytes_{static_cast<char>(id >> 24), static_cast<char>(id >> 16),
               static_cast<char>(id >> 8), static_cast<char>(id)} {}
  rocksdb::Slice slice() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::array<char, 4> bytes_;
};

// The key of the table's shape. It sorts after every id and is the last entry
// written: a table that has it was finished.
inline constexpr char kPleShapeKey[] = "\xffshape";

// The shape's record, readable by people: "lapidary-ple-1 tokens=262144
// layers=30 width=256 dtype=bf16". Another format has another first word.
std::string PleShapeRecord(const PleTableShape& shape);

// Whether every field is positive, ids fit the key, and a row is shorter than
// 2 GiB.
absl::Status CheckPleShape(const PleTableShape& shape);

// Table options of writer and reader; `block_cache` null for none.
rocksdb::BlockBasedTableOptions PleTableOptions(
    std::shared_ptr<rocksdb::Cache> block_cache);

// Options common to both: no compression, no LOG file, no background work.
rocksdb::Options PleDbOptions(
    const rocksdb::BlockBasedTableOptions& table_options);

// `status` as an error about `what` ("PLE table /m/ple, token 7"). A full disk
// or too many open files is RESOURCE_EXHAUSTED, a forbidden file
// PERMISSION_DENIED; everything else that is wrong with finished files is
// DATA_LOSS and says to pack again.
absl::Status PleReadError(const rocksdb::Status& status,
                          absl::string_view what);

// The same while writing: RESOURCE_EXHAUSTED, PERMISSION_DENIED or INTERNAL.
absl::Status PleWriteError(const rocksdb::Status& status,
                           absl::string_view what);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PLE_FORMAT_H_
