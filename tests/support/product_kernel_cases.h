// Runs a test once with each of the integer product's kernels that this CPU
// has, and puts back what was in use.
//
//   class MyTest : public ProductKernelCases {};
//   INSTANTIATE_TEST_SUITE_P(Kernels, MyTest, EachProductKernels(),
//                            ProductKernelsName);
#ifndef LAPIDARY_TESTS_SUPPORT_PRODUCT_KERNEL_CASES_H_
#define LAPIDARY_TESTS_SUPPORT_PRODUCT_KERNEL_CASES_H_

#include <algorithm>
#include <cctype>
#include <string>

#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "kernels/quant/product.h"

namespace lapidary::kernels {

class ProductKernelCases
    : public testing::TestWithParam<const ProductKernels*> {
 protected:
  void SetUp() override { UseProductKernelsForTest(GetParam()); }
  void TearDown() override {
    UseProductKernelsForTest(UsableProductKernels().front());
    SetComputeThreads(threads_);
  }

  const int threads_ = ComputeThreads();
};

inline auto EachProductKernels() {
  return testing::ValuesIn(UsableProductKernels());
}

inline std::string ProductKernelsName(
    const testing::TestParamInfo<const ProductKernels*>& info) {
  std::string name = info.param->name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_TESTS_SUPPORT_PRODUCT_KERNEL_CASES_H_
