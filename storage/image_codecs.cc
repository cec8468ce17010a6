#include "storage/image_codecs.h"

#include "absl/strings/str_cat.h"

namespace lapidary {

absl::Status CheckImageSize(absl::string_view format, uint64_t width,
                            uint64_t height, const ImageLimits& limits) {
  const std::string size =
      absl::StrCat(format, " image: its header says ", width, " x ", height);
  if (width == 0 || height == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " pixels; send a picture that has some"));
  }
  const auto max_side = static_cast<uint64_t>(limits.max_side);
  if (width > max_side || height > max_side) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " pixels, the limit is ", max_side,
                     " a side; scale it down, the model sees at most 768"));
  }
  if (width * height > static_cast<uint64_t>(limits.max_pixels)) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " = ", width * height, " pixels, the limit is ",
                     limits.max_pixels,
                     "; scale it down, the model sees at most 768 x 768"));
  }
  return absl::OkStatus();
}

absl::Status DamagedImage(absl::string_view format, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(format, " image: ", what,
                   "; the file is truncated, damaged or of a kind that is not "
                   "supported: save it anew and send all of it"));
}

absl::Status UnwantedImage(absl::string_view format) {
  return absl::CancelledError(
      absl::StrCat(format, " image: nobody waits for it any more"));
}

Image BlackImage(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.resize(static_cast<size_t>(width) * height * 3);
  return image;
}

}  // namespace lapidary
