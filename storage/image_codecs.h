// One decoder per file format, each around Debian's library for it. Their
// pixels are those of PIL's convert("RGB"), byte for byte.
//
// All take a whole file whose magic is known to be theirs, and give the first
// picture in it as it is stored: `orientation` says how to turn it. Errors are
// INVALID_ARGUMENT, named for the format: a size that is zero or above the
// limits, anything truncated or damaged (never a picture with a part missing),
// features that the format allows and the library does not.
// RESOURCE_EXHAUSTED if libpng or libjpeg is refused memory. CANCELLED once
// `unwanted` says so. Libraries print nothing.
#ifndef LAPIDARY_STORAGE_IMAGE_CODECS_H_
#define LAPIDARY_STORAGE_IMAGE_CODECS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/image.h"

namespace lapidary {

struct StoredImage {
  Image image;
  int orientation = 1;  // EXIF's, 1 to 8 (image_orientation.h)
};

// Every colour type, depth and interlacing. 16-bit samples keep their high
// byte. Of an animated PNG, the still picture.
absl::StatusOr<StoredImage> DecodePng(absl::string_view bytes,
                                      const ImageLimits& limits,
                                      const Unwanted& unwanted);

// Baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK (four channels are
// taken as inverted, as Adobe writes them). Stricter than PIL where data is
// damaged but goes on: PIL gives grey blocks, this an error.
absl::StatusOr<StoredImage> DecodeJpeg(absl::string_view bytes,
                                       const ImageLimits& limits,
                                       const Unwanted& unwanted);

// Lossy and lossless. Of an animation the first frame, on a black canvas.
absl::StatusOr<StoredImage> DecodeWebp(absl::string_view bytes,
                                       const ImageLimits& limits,
                                       const Unwanted& unwanted);

// Of an animation the first frame, on a canvas of the transparent colour, or
// of colour 0 if there is none.
absl::StatusOr<StoredImage> DecodeGif(absl::string_view bytes,
                                      const ImageLimits& limits,
                                      const Unwanted& unwanted);

// --- For the decoders -------------------------------------------------------

// INVALID_ARGUMENT unless width x height is a size within the limits.
absl::Status CheckImageSize(absl::string_view format, uint64_t width,
                            uint64_t height, const ImageLimits& limits);

// What a decoder answers for a file that it cannot read to its end.
absl::Status DamagedImage(absl::string_view format, absl::string_view what);

// What a decoder answers that has stopped: nobody waits for it.
absl::Status UnwantedImage(absl::string_view format);

// An image of this size, black.
Image BlackImage(int width, int height);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_IMAGE_CODECS_H_
