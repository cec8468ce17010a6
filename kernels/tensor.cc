#include "kernels/tensor.h"

#include <cstdlib>

namespace lapidary::kernels {

size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBf16:
      return 2;
    case DType::kInt8:
    case DType::kInt4:
      break;
  }
  return 0;
}

const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBf16:
      return "bf16";
    case DType::kI32:
      return "i32";
    case DType::kInt8:
      return "int8";
    case DType::kInt4:
      return "int4";
  }
  return "unknown";
}

std::shared_ptr<AlignedBuffer> AlignedBuffer::Make(size_t size) {
  constexpr size_t kCacheLine = 64;
  // aligned_alloc wants a multiple of the alignment, and at least one.
  const size_t rounded = (size / kCacheLine + 1) * kCacheLine;
  if (rounded < size) return nullptr;  // wrapped around
  void* data = std::aligned_alloc(kCacheLine, rounded);
  if (data == nullptr) return nullptr;
  return std::shared_ptr<AlignedBuffer>(
      new AlignedBuffer(static_cast<std::byte*>(data), size));
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

Tensor::Tensor(DType dtype, std::vector<int64_t> shape,
               std::shared_ptr<const AlignedBuffer> buffer)
    : dtype_(dtype),
      shape_(std::move(shape)),
      data_(buffer->data()),
      owner_(std::move(buffer)) {}

int64_t Tensor::elements() const {
  if (data_ == nullptr) return 0;
  int64_t n = 1;
  for (int64_t d : shape_) n *= d;
  return n;
}

std::string Tensor::ToString() const {
  std::string text = std::string(NameOf(dtype_)) + " [";
  for (size_t axis = 0; axis < shape_.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(shape_[axis]);
  }
  return text + "]";
}

}  // namespace lapidary::kernels
