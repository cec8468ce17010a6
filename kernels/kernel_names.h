// Which instruction sets the kernels of this process use. Nothing is built for
// one CPU: each family of kernels is there for several instruction sets, and
// takes the best of those that it finds when it is first used.
#ifndef LAPIDARY_KERNELS_KERNEL_NAMES_H_
#define LAPIDARY_KERNELS_KERNEL_NAMES_H_

#include <string>

namespace lapidary::kernels {

struct KernelNames {
  // Products with int8 and int4 weights: "AVX-512 VNNI", "AVX2", "portable".
  std::string integer_products;
  // Attention, norms, activations: Highway's name of its target, e.g. "AVX2".
  std::string vectors;
  // oneDNN, for products with f32 and bf16 weights, e.g. "AVX-512 BF16"; with
  // "AMX", those with bf16 weights are our own (gemm/amx_product.h).
  // DNNL_MAX_CPU_ISA bounds it.
  std::string float_products;

  // "int8, int4: AVX2; f32, bf16: AVX2 (oneDNN); all else: AVX2"
  std::string ToString() const;
};

KernelNames KernelsInUse();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_KERNEL_NAMES_H_
