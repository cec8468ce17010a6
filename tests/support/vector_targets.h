// Runs each test in one of the instruction sets that Highway compiled and this
// CPU has.
//
//   class RowOpsTest : public VectorTargets {};
//   INSTANTIATE_TEST_SUITE_P(Targets, RowOpsTest, EachVectorTarget(),
//                            VectorTargetName);
#ifndef LAPIDARY_TESTS_SUPPORT_VECTOR_TARGETS_H_
#define LAPIDARY_TESTS_SUPPORT_VECTOR_TARGETS_H_

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "hwy/highway.h"

namespace lapidary {

class VectorTargets : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Choose(GetParam()); }
  void TearDown() override { Choose(0); }

 private:
  static void Choose(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

inline auto EachVectorTarget() {
  return testing::ValuesIn(hwy::SupportedAndGeneratedTargets());
}

inline std::string VectorTargetName(
    const testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_VECTOR_TARGETS_H_
