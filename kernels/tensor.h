// Tensors as they pass between the parts of Lapidary: a type, a shape and
// bytes that nobody writes any more.
//
//   std::shared_ptr<AlignedBuffer> buffer = AlignedBuffer::Make(bytes);
//   … fill buffer->data() …
//   Tensor rows(DType::kBf16, {n, layers, width}, buffer);
//   const uint16_t* first = rows.data<uint16_t>();
//
// A copy of a Tensor copies a pointer and a small shape. Bytes are 64-byte
// aligned when they come from AlignedBuffer; views into files keep their file
// mapped through the owner pointer.
#ifndef LAPIDARY_KERNELS_TENSOR_H_
#define LAPIDARY_KERNELS_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lapidary::kernels {

// Values are part of the packed-model format and of the wire form: never
// renumber. kInt8 and kInt4 are quantised weight matrices
// (quant/quant_layout.h), never tensors.
enum class DType : uint8_t {
  kF32 = 1,
  kBf16 = 2,
  kI32 = 3,
  kInt8 = 4,
  kInt4 = 5
};

// Bytes of one element; 0 where elements have no bytes of their own (kInt8,
// kInt4) and for a value that is no DType.
size_t SizeOf(DType dtype);

// "f32", "bf16", "i32", "int8", "int4"; "unknown" otherwise.
const char* NameOf(DType dtype);

// Room for `size` elements, exactly, and nothing of what was there: growing a
// vector in place doubles it, and holds the old one beside the new.
template <typename T>
void MakeRoom(std::vector<T>* buffer, size_t size) {
  if (buffer->size() >= size) return;
  *buffer = std::vector<T>();
  buffer->resize(size);
}

// Writable memory, aligned to a cache line (64 bytes), not initialised.
class AlignedBuffer {
 public:
  // Null when the memory cannot be had.
  static std::shared_ptr<AlignedBuffer> Make(size_t size);
  ~AlignedBuffer();
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  AlignedBuffer(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::byte* data_;
  size_t size_;
};

class Tensor {
 public:
  Tensor() = default;

  // A tensor over all of `buffer`, which must hold the shape's bytes and must
  // not be written once the tensor is shared.
  Tensor(DType dtype, std::vector<int64_t> shape,
         std::shared_ptr<const AlignedBuffer> buffer);

  // A tensor over `data`, which `owner` keeps alive.
  Tensor(DType dtype, std::vector<int64_t> shape, const void* data,
         std::shared_ptr<const void> owner)
      : dtype_(dtype),
        shape_(std::move(shape)),
        data_(data),
        owner_(std::move(owner)) {}

  bool empty() const { return data_ == nullptr; }
  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t dim(size_t axis) const { return shape_[axis]; }

  // Number of elements and of bytes.
  int64_t elements() const;
  size_t bytes() const { return elements() * SizeOf(dtype_); }

  const void* raw() const { return data_; }
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(data_);
  }

  // For error messages: "bf16 [3, 10, 256]".
  std::string ToString() const;

 private:
  DType dtype_ = DType::kF32;
  std::vector<int64_t> shape_;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

// A dense row-major f32 matrix that somebody else owns.
//   data [rows][cols]
struct MatrixView {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;

  float* row(int64_t r) const { return data + r * cols; }
};

struct ConstMatrixView {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;

  ConstMatrixView() = default;
  ConstMatrixView(const float* d, int64_t r, int64_t c)
      : data(d), rows(r), cols(c) {}
  ConstMatrixView(const MatrixView& m)  // NOLINT: a view of the same thing
      : data(m.data), rows(m.rows), cols(m.cols) {}

  const float* row(int64_t r) const { return data + r * cols; }
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_TENSOR_H_
