#include "kernels/kernel_names.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/quant/product.h"
#include "kernels/simd/row_ops.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace lapidary::kernels {
namespace {

// The best of oneDNN's instruction sets that its effective one includes.
const char* FloatProductsName() {
  using dnnl::cpu_isa;
  const int effective = static_cast<int>(dnnl::get_effective_cpu_isa());
  for (const auto& [isa, name] : {std::pair(cpu_isa::avx512_core_amx, "AMX"),
                                  {cpu_isa::avx512_core_bf16, "AVX-512 BF16"},
                                  {cpu_isa::avx512_core_vnni, "AVX-512 VNNI"},
                                  {cpu_isa::avx512_core, "AVX-512"},
                                  {cpu_isa::avx2, "AVX2"},
                                  {cpu_isa::avx, "AVX"},
                                  {cpu_isa::sse41, "SSE4.1"}}) {
    const int bits = static_cast<int>(isa);
    if ((effective & bits) == bits) return name;
  }
  return "portable";
}

}  // namespace

std::string KernelNames::ToString() const {
  return absl::StrCat("int8, int4: ", integer_products,
                      "; f32, bf16: ", float_products,
                      " (oneDNN); all else: ", vectors);
}

KernelNames KernelsInUse() {
  return {ProductKernelsInUse().name, VectorTarget(), FloatProductsName()};
}

}  // namespace lapidary::kernels
