// Alone in its program: the peak of memory is the process's.
#include <sys/resource.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "storage/json.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;

// Peak resident memory of this process, in bytes.
int64_t PeakMemory() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * int64_t{1024};
}

TEST(Pack, MemoryDoesNotGrowWithTheModel) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep freed memory";
#endif
  TempDir dir;
  Json json = *ParseJson(TinyConfigJson(), "tiny");
  json["vocab_size"] = 40000;
  json["vocab_size_per_layer_input"] = 40000;
  json["hidden_size"] = 1024;
  json["hidden_size_per_layer_input"] = 256;
  const auto hf = SynthFolder(dir, json.dump(), 1, DType::kF32);
  ASSERT_TRUE(hf.ok()) << hf.status();
  ASSERT_GT(std::filesystem::file_size(*hf + "/model.safetensors"),
            400'000'000u);
  // Making the checkpoint took some memory too: that much more may come.
  const int64_t before = PeakMemory();
  const auto packed = PackFolder(dir, *hf, DType::kF32);
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_LT(PeakMemory() - before, 200 << 20);
}

}  // namespace
}  // namespace lapidary
