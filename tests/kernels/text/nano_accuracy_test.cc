// What int8 and int4 weights may cost the bundled model in right answers to
// questions that it was never trained on. All questions, and every group of
// weights by itself: bazel run //tests/bench:dtype_cost.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "tests/support/nano_questions.h"
#include "tests/support/nano_tokenizer.h"
#include "tests/support/text_runner.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;

// Of a task; recall's are long.
constexpr size_t kQuestions = 40;

struct Loss {
  DType dtype;
  int points;  // of 100, at most, in any task
};

class NanoAccuracy : public testing::TestWithParam<Loss> {
 protected:
  // Tests run beside each other.
  void SetUp() override { kernels::SetComputeThreads(1); }

  std::unique_ptr<TextRunner> Open(DType dtype) {
    const auto packed = PackFolder(dir_, kNanoFolder, dtype);
    EXPECT_TRUE(packed.ok()) << packed.status();
    auto runner = TextRunner::Open(*packed, {});
    EXPECT_TRUE(runner.ok()) << runner.status();
    return *std::move(runner);
  }

  TempDir dir_;
};

INSTANTIATE_TEST_SUITE_P(DTypes, NanoAccuracy,
                         testing::Values(Loss{DType::kInt8, 1},
                                         Loss{DType::kInt4, 3}),
                         [](const auto& info) {
                           return std::string(NameOf(info.param.dtype));
                         });

TEST_P(NanoAccuracy, LosesFewRightAnswersInAnyTask) {
  const auto exact = Open(DType::kF32);
  const auto quantised = Open(GetParam().dtype);
  for (const std::string& task : NanoTextTasks()) {
    const auto questions = HeldOutQuestions(task, kQuestions);
    ASSERT_EQ(questions.size(), kQuestions);
    const int right = CountRight(exact.get(), questions);
    const int still = CountRight(quantised.get(), questions);
    std::printf("%s: of %zu questions f32 answers %d right, %s %d\n",
                task.c_str(), questions.size(), right, NameOf(GetParam().dtype),
                still);
    EXPECT_GE(right, static_cast<int>(kQuestions) * 95 / 100);
    EXPECT_LE(100 * (right - still),
              GetParam().points * static_cast<int>(kQuestions))
        << task;
  }
}

}  // namespace
}  // namespace lapidary
