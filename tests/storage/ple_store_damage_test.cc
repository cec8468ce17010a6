// A PLE table that is damaged, unfinished or has no room: told by name, never
// returned as rows.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "storage/ple_store.h"
#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/ple_table.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using kernels::DType;

// --- Damage ------------------------------------------------------------------

void ExpectDataLoss(const absl::Status& status, const std::string& folder) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), folder)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "pack the model again"))
      << status;
}

// Where the file holds the bytes of `row`.
uint64_t OffsetOf(const std::string& file, const std::vector<uint16_t>& row) {
  const size_t offset = ReadBytes(file).find(
      std::string(reinterpret_cast<const char*>(row.data()),
                  row.size() * sizeof(uint16_t)));
  EXPECT_NE(offset, std::string::npos) << file;
  return offset;
}

TEST_F(PleStoreTest, FlippedRowByte_IsFoundByReadAndByVerify) {
  WriteTable(kWide);
  const std::string file = FilesIn(folder_, "", ".sst").at(0);
  FlipBit(file, 8 * (OffsetOf(file, PleRows(kWide, 700, 1)) + 5000));
  auto store = OpenTable(kWide);
  ASSERT_NE(store, nullptr);
  ExpectDataLoss(store->VerifyChecksums(), folder_);
  auto one = ReadPleRows(*store, {700}, {0, 30});
  ExpectDataLoss(one.status(), folder_);
  EXPECT_TRUE(absl::StrContains(one.status().message(), "token 700"));
  auto prompt = ReadPleRows(*store, {3, 699, 700, 701}, {0, 1});
  ExpectDataLoss(prompt.status(), folder_);
  EXPECT_TRUE(absl::StrContains(prompt.status().message(), "token 700"));
  // Its neighbours are whole.
  auto others = ReadPleRows(*store, {699, 701}, {0, 30});
  ASSERT_TRUE(others.ok()) << others.status();
  EXPECT_TRUE(*others == ExpectedPleRows(kWide, {699, 701}, {0, 30}));
}

TEST_F(PleStoreTest, WholeTablePassesVerify) {
  WriteTable(kWide);
  auto store = OpenTable(kWide);
  ASSERT_NE(store, nullptr);
  const absl::Status status = store->VerifyChecksums();
  EXPECT_TRUE(status.ok()) << status;
}

// Wherever a byte of any file flips: an error, or the right rows.
TEST_F(PleStoreTest, FlippedByteAnywhere_NeverGivesWrongRows) {
  const PleTableShape shape{200, 10, 16, DType::kBf16};
  WriteTable(shape);
  const std::string copy = dir_.File("copy");
  const auto ids = AllIds(shape);
  const auto expected = ExpectedPleRows(shape, ids, {0, 10});
  std::mt19937 random(11);
  int refused = 0;
  for (const std::string& name : FilesIn(folder_, "", "")) {
    const uint64_t size = fs::file_size(name);
    for (int i = 0; i < 40 && size > 0; ++i) {
      fs::remove_all(copy);
      fs::copy(folder_, copy, fs::copy_options::recursive);
      const std::string file = copy + "/" + fs::path(name).filename().string();
      const uint64_t offset = random() % size;
      FlipBit(file, 8 * offset);
      auto store = PleStore::Open(copy, shape, {});
      auto rows = store.ok()
                      ? ReadPleRows(**store, ids, {0, 10})
                      : absl::StatusOr<std::vector<uint16_t>>(store.status());
      if (rows.ok()) {
        EXPECT_TRUE(*rows == expected) << file << " at " << offset;
      } else {
        ExpectDataLoss(rows.status(), copy);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 40);
}

TEST_F(PleStoreTest, DamagedCurrentOrManifestIsRefused) {
  WriteTable(kNano);
  const std::string copy = dir_.File("copy");
  const std::vector<std::string> names = {
      "CURRENT",
      fs::path(FilesIn(folder_, "MANIFEST", "").at(0)).filename().string()};
  for (const std::string& name : names) {
    for (const std::string damage : {"flip", "cut", "empty", "remove"}) {
      fs::remove_all(copy);
      fs::copy(folder_, copy, fs::copy_options::recursive);
      const std::string file = copy + "/" + name;
      const uint64_t middle = fs::file_size(file) / 2;
      if (damage == "flip") FlipBit(file, 8 * middle);
      if (damage == "cut") fs::resize_file(file, middle);
      if (damage == "empty") fs::resize_file(file, 0);
      if (damage == "remove") fs::remove(file);
      SCOPED_TRACE(absl::StrCat(name, " ", damage));
      ExpectDataLoss(PleStore::Open(copy, kNano, {}).status(), copy);
    }
  }
}

TEST_F(PleStoreTest, TruncatedOrMissingSstIsRefused) {
  WriteTable(kWide);
  const std::string file = FilesIn(folder_, "", ".sst").at(0);
  fs::resize_file(file, fs::file_size(file) - 100000);
  auto cut = PleStore::Open(folder_, kWide, {});
  ExpectDataLoss(cut.status(), folder_);
  fs::remove(file);
  auto missing = PleStore::Open(folder_, kWide, {});
  ExpectDataLoss(missing.status(), folder_);
}

TEST_F(PleStoreTest, ShortAndMissingRowsAreDataLoss) {
  WriteTable(kNano);
  {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, folder_, &db).ok());
    std::unique_ptr<rocksdb::DB> owner(db);
    const std::string short_id("\0\0\0\5", 4), missing_id("\0\0\1\0", 4);
    ASSERT_TRUE(db->Put({}, short_id, std::string(318, 'x')).ok());
    ASSERT_TRUE(db->Delete({}, missing_id).ok());
  }
  auto store = PleStore::Open(folder_, kNano, {});
  ASSERT_TRUE(store.ok()) << store.status();
  for (int32_t id : {5, 256}) {
    for (const auto& ids :
         {std::vector<int32_t>{id}, std::vector<int32_t>{id, 17}}) {
      auto rows = ReadPleRows(**store, ids, {0, 1});
      ExpectDataLoss(rows.status(), folder_);
      EXPECT_TRUE(absl::StrContains(rows.status().message(),
                                    absl::StrCat("token ", id)))
          << rows.status();
    }
  }
}

TEST_F(PleStoreTest, FolderOfAnotherDatabaseIsRefused) {
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, folder_, &db).ok());
  ASSERT_TRUE(db->Put({}, "a", "b").ok());
  delete db;
  ExpectDataLoss(PleStore::Open(folder_, kNano, {}).status(), folder_);
}

// --- Writing -----------------------------------------------------------------

TEST_F(PleStoreTest, WriterKilledMidway_LeavesATableThatIsRefused) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto writer = PleStoreWriter::Create(folder_, kWide, kWide.row_dtype());
    const bool wrote =
        writer.ok() &&
        (*writer)->Append(PleRows(kWide, 0, 700).data(), 700).ok();
    _exit(wrote ? 0 : 1);  // no destructor runs, as when killed
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_FALSE(FilesIn(folder_, "", "").empty());
  ExpectDataLoss(PleStore::Open(folder_, kWide, {}).status(), folder_);
}

TEST_F(PleStoreTest, DatabaseWithoutTheIngestedRowsIsRefused) {
  // What a kill between the creation of the database and the ingestion leaves.
  rocksdb::Options options;
  options.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, folder_, &db).ok());
  delete db;
  ExpectDataLoss(PleStore::Open(folder_, kNano, {}).status(), folder_);
}

TEST_F(PleStoreTest, WriterTakesExactlyTheTablesRows) {
  auto writer = PleStoreWriter::Create(folder_, kNano, kNano.row_dtype());
  ASSERT_TRUE(writer.ok());
  const auto rows = PleRows(kNano, 0, 3072);
  ASSERT_TRUE((*writer)->Append(rows.data(), 3000).ok());
  EXPECT_EQ((*writer)->Finish().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*writer)->Append(rows.data(), 73).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*writer)->Append(rows.data(), -1).code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE((*writer)->Append(rows.data() + 3000 * 160, 72).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ((*writer)->Append(rows.data(), 1).code(),
            absl::StatusCode::kFailedPrecondition);
  auto store = OpenTable(kNano);
  ASSERT_NE(store, nullptr);
  const auto ids = AllIds(kNano);
  auto read = ReadPleRows(*store, ids, {0, 10});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == rows);
}

TEST_F(PleStoreTest, WriterRefusesAFolderThatExists) {
  WriteTable(kNano);
  const auto before = ContentsOf(folder_);
  EXPECT_EQ(
      PleStoreWriter::Create(folder_, kNano, kNano.row_dtype()).status().code(),
      absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(ContentsOf(folder_) == before);
  EXPECT_EQ(
      PleStoreWriter::Create(dir_.File("no/such"), kNano, kNano.row_dtype())
          .status()
          .code(),
      absl::StatusCode::kNotFound);
}

// Wherever the space runs out: in the rows, in the index, in the last sync or
// in the database's own files.
TEST_F(PleStoreTest, FullDiskIsResourceExhausted) {
  const PleTableShape shape{200, 30, 256, DType::kBf16};
  const std::string small = dir_.File("small");
  const int rows_kb = 200 * 15;
  int refused = 0, written = 0;
  for (int kb = rows_kb - 64; kb <= rows_kb + 128; kb += 8) {
    // The child answers by making one of two folders beside the mount.
    const std::string full = dir_.File(absl::StrCat("full", kb));
    const std::string options = absl::StrCat("size=", kb, "k");
    const Child child = OnFileSystem("tmpfs", options.c_str(), small, [&] {
      const std::string folder = small + "/ple";
      const absl::Status status = WritePleTable(folder, shape);
      const absl::Status opened = PleStore::Open(folder, shape, {}).status();
      if (status.ok()) {
        EXPECT_TRUE(opened.ok()) << opened;
        return;
      }
      fs::create_directory(full);
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), folder)) << status;
      EXPECT_FALSE(opened.ok());
    });
    if (child == Child::kCannot) GTEST_SKIP() << "may not mount a tmpfs";
    EXPECT_EQ(child, Child::kPassed) << options;
    ++(fs::exists(full) ? refused : written);
  }
  EXPECT_GT(refused, 8);
  EXPECT_GT(written, 0);
}

}  // namespace
}  // namespace lapidary
