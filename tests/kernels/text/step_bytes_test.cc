// That a node can know its work space before it has any.

#include "kernels/text/step_bytes.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/text/model.h"
#include "tests/support/text_golden.h"
#include "tests/support/text_runner.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::StepBytes;
using kernels::text::StepSize;
using Outputs = TextRunner::Outputs;

// Whatever the steps were, in whatever order.
void ExpectBounds(const std::string& packed, const std::string& name) {
  auto opened = TextRunner::Open(packed, {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  TextRunner& runner = **opened;
  StepSize size;
  size.rows = 200;
  size.head_rows = runner.model()->options().head_rows;
  size.positions = 250;
  size.threads = 64;
  const size_t bound =
      StepBytes(runner.config(), runner.model()->kv_layout(), size);
  for (int64_t chunk : {1, 130, 17, 200, 90}) {
    std::vector<int32_t> ids(250, 5);
    RunningSequence sequence = runner.Start(ids.size());
    runner.Feed(&sequence, ids, chunk, Outputs::kAll);
    EXPECT_LE(runner.model()->ScratchBytes(), bound)
        << name << ", chunks of " << chunk;
  }
  // A bound that nobody comes near would waste the memory that it keeps. These
  // shapes take the least of it where they have no sparse layers, or f32
  // matrices, which need nothing for their activations.
  EXPECT_GE(runner.model()->ScratchBytes(), bound * 6 / 10) << name;
}

TEST(StepBytes, IsNoLessThanStepsTake_AndLittleMore) {
  for (const std::string& name : TextGoldenNames()) {
    for (DType dtype : {DType::kF32, DType::kInt4}) {
      TempDir dir;
      const auto packed = PackGolden(dir, ReadTextGolden(name), dtype);
      ASSERT_TRUE(packed.ok()) << packed.status();
      ExpectBounds(*packed, name + " " + NameOf(dtype));
    }
  }
}

}  // namespace
}  // namespace lapidary
