#include "actors/messages_wire.h"

#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

namespace pb = ::lapidary::internal;
using kernels::Tensor;
using Tensors = std::vector<Tensor>;

constexpr uint32_t kVersion = 1;
constexpr size_t kSizeBytes = 4;
constexpr int kMaxDimensions = 8;

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("actor message: ", what));
}

// Bytes of a tensor by its dtype and shape; 0 if they make no sense.
uint64_t ShapeBytes(const pb::TensorHeader& header) {
  if (header.dtype() > std::numeric_limits<uint8_t>::max()) return 0;
  uint64_t bytes = kernels::SizeOf(static_cast<kernels::DType>(header.dtype()));
  if (header.shape_size() > kMaxDimensions) return 0;
  for (int64_t dim : header.shape()) {
    if (dim < 0 ||
        __builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes)) {
      return 0;
    }
  }
  return bytes;
}

absl::StatusOr<Tensors> ReadTensors(const pb::Header& header,
                                    absl::string_view bytes) {
  Tensors tensors;
  for (const pb::TensorHeader& tensor : header.tensors()) {
    const uint64_t size = ShapeBytes(tensor);
    if (size == 0 || size != tensor.bytes()) {
      return Invalid(absl::StrCat("tensor ", tensors.size(), " of ",
                                  tensor.bytes(),
                                  " bytes does not match its shape and dtype"));
    }
    if (size > bytes.size()) {
      return Invalid(absl::StrCat("tensor ", tensors.size(), " has ", size,
                                  " bytes, ", bytes.size(), " are left"));
    }
    auto buffer = kernels::AlignedBuffer::Make(size);
    if (buffer == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a tensor of ", size, " bytes"));
    }
    std::memcpy(buffer->data(), bytes.data(), size);
    bytes.remove_prefix(size);
    tensors.emplace_back(
        static_cast<kernels::DType>(tensor.dtype()),
        std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end()),
        std::move(buffer));
  }
  if (!bytes.empty()) {
    return Invalid(absl::StrCat(bytes.size(), " bytes too many"));
  }
  return tensors;
}

}  // namespace

WireFrame ToWire(const WireMessage& message) {
  WireFrame frame;
  pb::Header header;
  header.set_version(kVersion);
  ToProto(message, &header, &frame.tensors);
  for (const Tensor& tensor : frame.tensors) {
    pb::TensorHeader* out = header.add_tensors();
    out->set_dtype(static_cast<uint32_t>(tensor.dtype()));
    out->mutable_shape()->Add(tensor.shape().begin(), tensor.shape().end());
    out->set_bytes(tensor.bytes());
  }
  const std::string bytes = header.SerializeAsString();
  for (size_t i = 0; i < kSizeBytes; ++i) {
    frame.header.push_back(static_cast<char>(bytes.size() >> (8 * i)));
  }
  frame.header += bytes;
  return frame;
}

std::string Flatten(const WireFrame& frame) {
  std::string bytes = frame.header;
  for (const Tensor& tensor : frame.tensors) {
    bytes.append(static_cast<const char*>(tensor.raw()), tensor.bytes());
  }
  return bytes;
}

absl::StatusOr<WireMessage> FromWire(absl::string_view frame,
                                     const WireLimits& limits) {
  if (frame.size() > limits.max_frame_bytes) {
    return absl::OutOfRangeError(absl::StrCat("actor message of ", frame.size(),
                                              " bytes, the limit is ",
                                              limits.max_frame_bytes));
  }
  if (frame.size() < kSizeBytes) return Invalid("it has no header");
  uint64_t size = 0;
  for (size_t i = 0; i < kSizeBytes; ++i) {
    size |= uint64_t{static_cast<unsigned char>(frame[i])} << (8 * i);
  }
  frame.remove_prefix(kSizeBytes);
  if (size > frame.size()) {
    return Invalid(absl::StrCat("its header has ", size, " bytes, ",
                                frame.size(), " are there"));
  }
  pb::Header header;
  if (!header.ParseFromArray(frame.data(), static_cast<int>(size))) {
    return Invalid("its header does not parse");
  }
  if (header.version() != kVersion) {
    return absl::UnimplementedError(absl::StrCat(
        "actor message of version ", header.version(), ", this node speaks ",
        kVersion, "; run the same build on all nodes"));
  }
  auto tensors = ReadTensors(header, frame.substr(size));
  if (!tensors.ok()) return tensors.status();
  return FromProto(header, *tensors);
}

}  // namespace lapidary
