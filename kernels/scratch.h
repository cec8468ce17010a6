// Memory that one thread uses again and again, grown when it is too small.
#ifndef LAPIDARY_KERNELS_SCRATCH_H_
#define LAPIDARY_KERNELS_SCRATCH_H_

#include <cstddef>
#include <memory>
#include <new>

#include "kernels/tensor.h"

namespace lapidary::kernels {

class Scratch {
 public:
  // Room for `count` of T, 64-byte aligned, holding anything.
  template <typename T>
  T* Room(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (buffer_ == nullptr || buffer_->size() < bytes) {
      buffer_ = AlignedBuffer::Make(bytes);
      // Ends the actor that computes, as a vector that cannot grow would.
      if (buffer_ == nullptr) throw std::bad_alloc();
    }
    return reinterpret_cast<T*>(buffer_->data());
  }
  std::byte* data() const { return buffer_->data(); }
  size_t bytes() const { return buffer_ == nullptr ? 0 : buffer_->size(); }

 private:
  std::shared_ptr<AlignedBuffer> buffer_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SCRATCH_H_
