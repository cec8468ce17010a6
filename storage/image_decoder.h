// Images from bytes to pixels.
//
//   absl::StatusOr<Image> image = DecodeImage(bytes, ImageLimits());
//   std::vector<float> pixels = PixelValues(ResizeImage(*image, 768, 768));
//
// (the latter two are image_resize.h's).
#ifndef LAPIDARY_STORAGE_IMAGE_DECODER_H_
#define LAPIDARY_STORAGE_IMAGE_DECODER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/image.h"

namespace lapidary {

// The first picture in a PNG, JPEG, WebP or GIF file: upright (EXIF), RGB, as
// Hugging Face's loader has it (PIL's exif_transpose, then convert("RGB")):
// alpha is dropped, not composited; grey is replicated; palettes and CMYK are
// converted; 16-bit samples keep their high byte.
//
// The content says which format it is; what a client claims (a MIME type, a
// file name) is not asked for. Errors, all of which name what was found and a
// remedy: INVALID_ARGUMENT for another kind of file, a size that is zero or
// above the limits, and anything truncated or damaged; RESOURCE_EXHAUSTED if
// a library is refused memory; CANCELLED once it is unwanted, within a row of a
// PNG, JPEG or GIF (libwebp asks nobody).
absl::StatusOr<Image> DecodeImage(absl::string_view bytes,
                                  const ImageLimits& limits,
                                  const Unwanted& unwanted = nullptr);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_IMAGE_DECODER_H_
