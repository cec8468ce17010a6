// Binds a tower's tensors by name, so that a long list of bindings reads as a
// list.
//
//   TensorBinder bind(VisionTensorSpecs(config), lookup);
//   w.norm = bind.Plain("norm.weight");
//   w.query = bind.Gemm("attn.query.proj.weight");
//   if (!bind.status().ok()) return bind.status();
#ifndef LAPIDARY_KERNELS_TEXT_TENSOR_BINDER_H_
#define LAPIDARY_KERNELS_TEXT_TENSOR_BINDER_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"
#include "kernels/text/weights.h"

namespace lapidary::kernels::text {

class TensorBinder {
 public:
  //   specs   of all tensors, each with a TensorSpec `packed`
  //   lookup  must outlive it
  template <class Specs>
  TensorBinder(const Specs& specs, const TensorLookup& lookup)
      : lookup_(lookup) {
    for (const auto& spec : specs) {
      specs_.emplace(spec.packed.name, spec.packed);
    }
  }

  // The first error: the lookup's, or INVALID_ARGUMENT for a tensor that is not
  // packed as its spec says. After it nothing more is looked up.
  const absl::Status& status() const { return status_; }

  // A matrix in f32 or bf16; numbers in f32. Empty and null after an error.
  WeightMatrix Gemm(const std::string& name);
  // A matrix in f32, bf16 or int8, and in the same as all others of this call.
  WeightMatrix Linear(const std::string& name);
  const float* Plain(const std::string& name);

 private:
  PackedTensor Find(const std::string& name, TensorUse use,
                    bool int8_too = false);
  WeightMatrix Wrap(const PackedTensor& tensor);

  const TensorLookup& lookup_;
  std::map<std::string, TensorSpec> specs_;
  std::optional<DType> linear_;
  absl::Status status_;
};

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_TENSOR_BINDER_H_
