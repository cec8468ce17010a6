#include "kernels/quant/product_kernels.h"

#include <atomic>

namespace lapidary::kernels {
namespace {

std::atomic<const ProductKernels*>& InUse() {
  static std::atomic<const ProductKernels*> kernels{
      UsableProductKernels().front()};
  return kernels;
}

}  // namespace

std::vector<const ProductKernels*> UsableProductKernels() {
  std::vector<const ProductKernels*> usable;
  for (const ProductKernels* kernels :
       {AmxProductKernels(), Avx512VnniProductKernels(), Avx2ProductKernels(),
        PortableProductKernels()}) {
    if (kernels != nullptr) usable.push_back(kernels);
  }
  return usable;
}

const ProductKernels& ProductKernelsInUse() { return *InUse(); }

void UseProductKernelsForTest(const ProductKernels* kernels) {
  InUse() = kernels;
}

}  // namespace lapidary::kernels
