#include "storage/image_decoder.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/file_magic.h"
#include "storage/image_codecs.h"
#include "storage/image_orientation.h"

namespace lapidary {
namespace {

using Decoder = absl::StatusOr<StoredImage> (*)(absl::string_view,
                                                const ImageLimits&,
                                                const Unwanted&);

constexpr struct {
  Magic magic;
  Decoder decode;
} kDecoders[] = {
    {{"\x89PNG\r\n\x1a\n", 0, ""}, DecodePng},
    {{"\xFF\xD8\xFF", 0, ""}, DecodeJpeg},
    {{"RIFF", 8, "WEBP"}, DecodeWebp},
    {{"GIF87a", 0, ""}, DecodeGif},
    {{"GIF89a", 0, ""}, DecodeGif},
};

// What people send instead.
constexpr OtherFile kOtherFiles[] = {
    {{"BM", 0, ""}, "a BMP image"},
    {{absl::string_view("II*\0", 4), 0, ""}, "a TIFF image"},
    {{absl::string_view("MM\0*", 4), 0, ""}, "a TIFF image"},
    {{"", 4, "ftypavi"}, "an AVIF image"},
    {{"", 4, "ftyphei"}, "a HEIC image"},
    {{"", 4, "ftyphev"}, "a HEIC image"},
    {{"", 4, "ftypmif1"}, "a HEIF image"},
    {{"", 4, "ftypmsf1"}, "a HEIF image"},
    {{"", 4, "ftyp"}, "an MP4 or QuickTime film"},
    {{"\xFF\x0A", 0, ""}, "a JPEG XL image"},
    {{"", 4, "JXL "}, "a JPEG XL image"},
    {{"", 4, "jP  "}, "a JPEG 2000 image"},
    {{absl::string_view("\0\0\1\0", 4), 0, ""}, "a Windows icon"},
    {{"8BPS", 0, ""}, "a Photoshop file"},
    {{"%PDF", 0, ""}, "a PDF document"},
    {{"RIFF", 8, "WAVE"}, "a WAV sound"},
    {{"<svg", 0, ""}, "an SVG drawing"},
    {{"<", 0, ""}, "XML, SVG or HTML text"},
    {{"{", 0, ""}, "JSON text"},
    {{"data:", 0, ""}, "a data URL, not the bytes in it"},
    {{"http", 0, ""}, "an address, not what is there"},
    {{"iVBORw0KGgo", 0, ""}, "base64 text of a PNG image, not its bytes"},
    {{"/9j/", 0, ""}, "base64 text of a JPEG image, not its bytes"},
    {{"UklGR", 0, ""}, "base64 text of a WebP image, not its bytes"},
    {{"R0lGOD", 0, ""}, "base64 text of a GIF image, not its bytes"},
};

absl::Status NotAnImage(absl::string_view bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat("image: this is ", NameFile(bytes, kOtherFiles),
                   "; send the bytes of a PNG, JPEG, WebP or GIF file"));
}

}  // namespace

absl::StatusOr<Image> DecodeImage(absl::string_view bytes,
                                  const ImageLimits& limits,
                                  const Unwanted& unwanted) {
  if (bytes.size() > limits.max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("image: it has ", bytes.size(), " bytes, the limit is ",
                     limits.max_bytes, "; scale it down or compress it more"));
  }
  for (const auto& decoder : kDecoders) {
    if (!decoder.magic.Matches(bytes)) continue;
    absl::StatusOr<StoredImage> stored =
        decoder.decode(bytes, limits, unwanted);
    if (!stored.ok()) return stored.status();
    return Upright(std::move(stored->image), stored->orientation);
  }
  return NotAnImage(bytes);
}

}  // namespace lapidary
