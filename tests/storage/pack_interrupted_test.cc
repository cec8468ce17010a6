// Packing that does not come to its end: killed, beside another, on a full
// disk. Every pack runs in a process of its own, as RocksDB's threads do not
// survive a fork.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/pack.h"
#include "storage/packed_model.h"
#include "storage/ple_store.h"
#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Progress = std::function<void(absl::string_view, uint64_t, uint64_t)>;

class PackInterruptedTest : public testing::Test {
 protected:
  PackInterruptedTest() {
    hf_ = *SynthFolder(dir_, TinyConfigJson(), 1, kernels::DType::kBf16);
  }

  absl::Status PackTo(const std::string& target, Progress progress = nullptr) {
    PackOptions options;
    options.source = hf_;
    options.target = target;
    options.progress = std::move(progress);
    return Pack(options);
  }
  // Packs in another process.
  Child PackApart(const std::string& target) {
    return InChild([] { return true; },
                   [&] {
                     const absl::Status packed = PackTo(target);
                     EXPECT_TRUE(packed.ok()) << packed;
                   });
  }
  // Weight files by name, with their bytes.
  static std::map<std::string, std::string> Weights(const std::string& model) {
    std::map<std::string, std::string> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(model + "/weights")) {
      files[entry.path().filename().string()] =
          ReadBytes(entry.path().string());
    }
    return files;
  }
  // Whole, with the same weights as `reference` and a readable table.
  static void ExpectWhole(const std::string& model,
                          const std::string& reference) {
    PackedModelOptions verify;
    verify.verify_weights = true;
    const auto opened = PackedModel::Open(model, verify);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(Weights(model), Weights(reference));
    EXPECT_EQ(ReadBytes(model + "/manifest.json"),
              ReadBytes(reference + "/manifest.json"));
    const Child child =
        InChild([] { return true; },
                [&] {
                  auto store = PleStore::Open((*opened)->ple_folder(),
                                              (*opened)->ple_shape(), {});
                  ASSERT_TRUE(store.ok()) << store.status();
                  EXPECT_TRUE((*store)->VerifyChecksums().ok());
                  EXPECT_TRUE((*store)->Read({0, 299}, {0, 6}).ok());
                });
    EXPECT_EQ(child, Child::kPassed);
  }

  TempDir dir_;
  std::string hf_;
};

TEST_F(PackInterruptedTest, KilledAtAnyCallback_IsRefusedThenPackedAfresh) {
  const std::string reference = dir_.File("reference");
  const std::string counted = dir_.File("counted");
  ASSERT_EQ(PackApart(reference), Child::kPassed);
  // Calls while weights are written, one for each panel; those that wait for
  // the table have no fixed number.
  const auto is_weight = [](absl::string_view step) {
    return step != "per-layer embeddings" && step != "done";
  };
  ASSERT_EQ(InChild([] { return true; },
                    [&] {
                      int calls = 0;
                      const auto count = [&](absl::string_view step, uint64_t,
                                             uint64_t) {
                        if (is_weight(step)) ++calls;
                      };
                      EXPECT_TRUE(PackTo(dir_.File("count"), count).ok());
                      WriteBytes(counted, std::to_string(calls));
                    }),
            Child::kPassed);
  const int calls = std::stoi(ReadBytes(counted));
  ASSERT_GT(calls, 50);
  // The last is after all weights and the table, before the manifest.
  for (const int moment : {1, 2, calls / 3, calls / 2, calls, calls + 1}) {
    const std::string target = dir_.Unused("killed");
    const pid_t child = fork();
    if (child == 0) {
      int call = 0;
      const absl::Status packed =
          PackTo(target, [&](absl::string_view step, uint64_t, uint64_t) {
            if (is_weight(step)) ++call;
            if (call == moment || (moment > calls && step == "done")) {
              kill(getpid(), SIGKILL);
            }
          });
      _exit(packed.ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << moment;

    const absl::Status refused = PackedModel::Open(target, {}).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr(target), HasSubstr("lapidary pack")));
    ASSERT_EQ(PackApart(target), Child::kPassed) << moment;
    ExpectWhole(target, reference);
  }
}

TEST_F(PackInterruptedTest, KilledAtAnyTime_IsWholeOrRefused) {
  const std::string reference = dir_.File("reference");
  ASSERT_EQ(PackApart(reference), Child::kPassed);
  int killed = 0;
  for (int milliseconds = 1; milliseconds < 100; milliseconds += 7) {
    const std::string target = dir_.Unused("killed");
    const pid_t child = fork();
    if (child == 0) _exit(PackTo(target).ok() ? 0 : 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) ++killed;

    if (!PackedModel::Open(target, {}).ok()) {
      ASSERT_EQ(PackApart(target), Child::kPassed) << milliseconds;
    }
    ExpectWhole(target, reference);
  }
  EXPECT_GT(killed, 0);
}

TEST_F(PackInterruptedTest, SecondPackerIsTurnedAway) {
  const std::string target = dir_.File("packed");
  absl::Status second = absl::OkStatus();
  ASSERT_TRUE(PackTo(target, [&](absl::string_view, uint64_t, uint64_t) {
                if (second.ok()) second = PackTo(target);
              }).ok());
  EXPECT_EQ(second.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(second.message()), HasSubstr(target));
  EXPECT_TRUE(PackedModel::Open(target, {}).ok());
}

TEST_F(PackInterruptedTest, ForeignFileBesideAnUnfinishedPackIsLeftAlone) {
  const std::string target = dir_.File("target");
  std::filesystem::create_directory(target);
  WriteBytes(target + "/packing-unfinished", "");
  WriteBytes(target + "/thesis.txt", "mine");
  const absl::Status status = PackTo(target);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("thesis.txt"));
  EXPECT_EQ(ReadBytes(target + "/thesis.txt"), "mine");
}

TEST_F(PackInterruptedTest, TooSmallADiskIsToldBeforeAnythingIsWritten) {
  const Child child = OnFileSystem("tmpfs", "size=1m", dir_.File("disk"), [&] {
    const std::string target = dir_.File("disk/packed");
    const absl::Status status = PackTo(target);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                testing::ContainsRegex("needs [0-9]+ bytes in .*, where "
                                       "[0-9]+ are free"));
    EXPECT_TRUE(std::filesystem::is_empty(target));
  });
  if (child == Child::kCannot) GTEST_SKIP() << "may not mount a tmpfs here";
  EXPECT_EQ(child, Child::kPassed);
}

TEST_F(PackInterruptedTest, DiskThatFillsUpIsToldAndLeftAsItWas) {
  const Child child = OnFileSystem("tmpfs", "size=16m", dir_.File("disk"), [&] {
    const std::string target = dir_.File("disk/packed");
    const std::string other = dir_.File("disk/other");
    const absl::Status status =
        PackTo(target, [&](absl::string_view, uint64_t, uint64_t) {
          if (std::filesystem::exists(other)) return;
          // Another program takes all that is left.
          std::ofstream file(other, std::ios::binary);
          const std::string block(4096, 'x');
          while (file.write(block.data(), block.size()).flush()) {
          }
        });
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()),
                testing::ContainsRegex("needs [0-9]+ bytes in .*, where "
                                       "[0-9]+ were left"));
    EXPECT_TRUE(std::filesystem::is_empty(target));
    // With room again, the same call succeeds.
    std::filesystem::remove(other);
    EXPECT_TRUE(PackTo(target).ok());
    EXPECT_TRUE(PackedModel::Open(target, {}).ok());
  });
  if (child == Child::kCannot) GTEST_SKIP() << "may not mount a tmpfs here";
  EXPECT_EQ(child, Child::kPassed);
}

}  // namespace
}  // namespace lapidary
