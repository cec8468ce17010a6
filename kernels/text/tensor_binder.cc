#include "kernels/text/tensor_binder.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lapidary::kernels::text {
namespace {

bool IsType(TensorUse use, DType dtype, bool int8_too) {
  if (dtype == DType::kF32) return true;
  if (use != TensorUse::kGemm) return false;
  return dtype == DType::kBf16 || (int8_too && dtype == DType::kInt8);
}

}  // namespace

WeightMatrix TensorBinder::Gemm(const std::string& name) {
  return Wrap(Find(name, TensorUse::kGemm));
}

WeightMatrix TensorBinder::Linear(const std::string& name) {
  const PackedTensor tensor = Find(name, TensorUse::kGemm, /*int8_too=*/true);
  if (!status_.ok()) return WeightMatrix();
  if (!linear_.has_value()) linear_ = tensor.dtype;
  if (tensor.dtype != *linear_) {
    status_ = absl::InvalidArgumentError(absl::StrCat(
        name, ": packed as ", NameOf(tensor.dtype), ", layers before it as ",
        NameOf(*linear_), "; pack the model again"));
  }
  return Wrap(tensor);
}

WeightMatrix TensorBinder::Wrap(const PackedTensor& tensor) {
  if (!status_.ok()) return WeightMatrix();
  absl::StatusOr<WeightMatrix> matrix = WeightMatrix::Wrap(
      tensor.dtype, tensor.shape[0], tensor.shape[1], tensor.data);
  if (!matrix.ok()) status_ = matrix.status();
  return matrix.ok() ? *std::move(matrix) : WeightMatrix();
}

const float* TensorBinder::Plain(const std::string& name) {
  const PackedTensor tensor = Find(name, TensorUse::kPlain);
  return status_.ok() ? static_cast<const float*>(tensor.data) : nullptr;
}

PackedTensor TensorBinder::Find(const std::string& name, TensorUse use,
                                bool int8_too) {
  if (!status_.ok()) return {};
  const auto spec = specs_.find(name);
  absl::StatusOr<PackedTensor> tensor = lookup_(name);
  if (!tensor.ok()) {
    status_ = tensor.status();
  } else if (spec == specs_.end() || tensor->use != use ||
             tensor->shape != spec->second.shape ||
             !IsType(use, tensor->dtype, int8_too) || tensor->data == nullptr) {
    status_ = absl::InvalidArgumentError(absl::StrCat(
        name, ": packed as ", NameOf(tensor->dtype), " [",
        absl::StrJoin(tensor->shape, ", "),
        "], which is not what config.json says; pack the model again"));
  }
  return status_.ok() ? *std::move(tensor) : PackedTensor();
}

}  // namespace lapidary::kernels::text
