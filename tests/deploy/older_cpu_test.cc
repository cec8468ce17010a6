// The program on CPUs that lack what ours has: it answers the same with the
// kernels that are left, and says which. The CPUs are emulated by QEMU's user
// mode (Debian's qemu-user-static or qemu-user; the tests that need it are
// skipped without), and bounded for oneDNN alone by DNNL_MAX_CPU_ISA.
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/nano_programs.h"

namespace lapidary::cli {
namespace {

using nlohmann::json;

using Words = std::vector<std::string>;

// Null where there is none.
const char* Emulator() {
  for (const char* path :
       {"/usr/bin/qemu-x86_64-static", "/usr/bin/qemu-x86_64"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return nullptr;
}

// The output of `lapidary args…`, which must succeed.
std::string OutputOf(const Words& prefix, const Words& args,
                     const std::map<std::string, std::string>& environment) {
  Words command = prefix;
  command.push_back(kLapidary);
  command.insert(command.end(), args.begin(), args.end());
  Program program(command, "", environment);
  EXPECT_EQ(program.Wait(), 0) << program.err();
  return program.out();
}

std::string PackedAs(const std::string& dtype) {
  const std::string folder = testing::TempDir() + "/nano-" + dtype;
  if (access(folder.c_str(), F_OK) != 0) {
    OutputOf({}, {"pack", kCheckpoint, folder, "--dtype=" + dtype}, {});
  }
  return folder;
}

json Answer(const Words& prefix, const std::string& folder,
            const std::map<std::string, std::string>& environment) {
  return json::parse(
      OutputOf(prefix,
               {"run", folder, "Describe the búho.", "--temperature=0",
                "--logprobs=0", "--threads=1", "--json"},
               environment),
      nullptr, false);
}

// The answers have the same tokens, and log-probabilities that differ by no
// more than the order of float sums makes them.
void ExpectSameAnswer(const json& expected, const json& got) {
  EXPECT_EQ(got["text"],
            "The owl is an animal. In German it is Eule, in French chouette, "
            "in Spanish búho and in Russian сова.");
  ASSERT_EQ(got["token_ids"], expected["token_ids"]);
  for (size_t i = 0; i < expected["tokens"].size(); ++i) {
    EXPECT_NEAR(got["tokens"][i]["logprob"].get<double>(),
                expected["tokens"][i]["logprob"].get<double>(), 0.05);
  }
}

struct Cpu {
  std::string name;  // QEMU's
  std::string integer_products, float_products;
};

class OlderCpu : public testing::TestWithParam<Cpu> {
 protected:
  void SetUp() override {
    if (Emulator() == nullptr) {
      GTEST_SKIP() << "no QEMU; apt-get install qemu-user-static";
    }
    prefix_ = {Emulator(), "-cpu", GetParam().name};
  }

  Words prefix_;
};

INSTANTIATE_TEST_SUITE_P(Cpus, OlderCpu,
                         testing::Values(Cpu{"Haswell", "AVX2", "AVX2"},
                                         Cpu{"Nehalem", "portable", "SSE4.1"},
                                         Cpu{"qemu64", "portable",
                                             "portable"}),  // SSE3 at most
                         [](const auto& info) { return info.param.name; });

TEST_P(OlderCpu, AnswersTheSameByTheKernelsThatAreLeft) {
  for (const char* dtype : {"int8", "int4", "bf16"}) {
    SCOPED_TRACE(dtype);
    const std::string folder = PackedAs(dtype);
    ExpectSameAnswer(Answer({}, folder, {}), Answer(prefix_, folder, {}));
  }
}

TEST_P(OlderCpu, SaysWhichKernelsAreInUse) {
  const json found = json::parse(
      OutputOf(prefix_, {"inspect", PackedAs("int4"), "--json"}, {}), nullptr,
      false);
  EXPECT_EQ(found["kernels"]["integer_products"], GetParam().integer_products);
  EXPECT_EQ(found["kernels"]["float_products"], GetParam().float_products);
}

TEST(OlderOneDnn, AnswersTheSameFromACopyOfTheWeights) {
  for (const char* dtype : {"bf16", "f32"}) {
    const std::string folder = PackedAs(dtype);
    const json expected = Answer({}, folder, {});
    for (const char* isa : {"SSE41", "AVX2", "AVX512_CORE"}) {
      SCOPED_TRACE(dtype + std::string(" ") + isa);
      ExpectSameAnswer(expected,
                       Answer({}, folder, {{"DNNL_MAX_CPU_ISA", isa}}));
    }
  }
  const json found =
      json::parse(OutputOf({}, {"inspect", PackedAs("bf16"), "--json"},
                           {{"DNNL_MAX_CPU_ISA", "SSE41"}}),
                  nullptr, false);
  EXPECT_EQ(found["kernels"]["float_products"], "SSE4.1");
}

}  // namespace
}  // namespace lapidary::cli
