// WebP through libwebp.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/image_codecs.h"
#include "storage/image_orientation.h"
#include "storage/little_endian.h"
#include "webp/decode.h"
#include "webp/demux.h"

namespace lapidary {
namespace {

constexpr char kFormat[] = "WebP";

// libwebp keeps some 50 bytes of each chunk; an animation has one for a frame.
constexpr int64_t kMaxChunks = 1 << 16;

// Whether the RIFF that the file begins with has more.
bool HasTooManyChunks(absl::string_view bytes) {
  constexpr size_t kHeader = 12, kChunkHeader = 8;
  if (bytes.size() < kHeader) return false;
  bytes = bytes.substr(0, kChunkHeader + LittleEndian(bytes.substr(4, 4)));
  size_t at = kHeader;
  for (int64_t chunks = 0; at + kChunkHeader <= bytes.size(); ++chunks) {
    if (chunks == kMaxChunks) return true;
    const uint64_t size = LittleEndian(bytes.substr(at + 4, 4));
    at += kChunkHeader + size + size % 2;  // chunks begin at even places
  }
  return false;
}

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

int Orientation(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk) == 0) return 1;
  const int orientation = ExifOrientation(
      {reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

// Decodes a frame to its place on the canvas.
absl::Status DecodeFrame(const WebPIterator& frame, Image* canvas) {
  if (frame.x_offset < 0 || frame.y_offset < 0 ||
      frame.x_offset + frame.width > canvas->width ||
      frame.y_offset + frame.height > canvas->height) {
    return DamagedImage(kFormat, "its first frame leaves the canvas");
  }
  const size_t stride = static_cast<size_t>(canvas->width) * 3;
  const size_t start = frame.y_offset * stride + frame.x_offset * size_t{3};
  const uint8_t* decoded = WebPDecodeRGBInto(
      frame.fragment.bytes, frame.fragment.size, canvas->rgb.data() + start,
      canvas->rgb.size() - start, static_cast<int>(stride));
  if (decoded == nullptr) {
    return DamagedImage(kFormat, "its pixels cannot be decoded");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StoredImage> DecodeWebp(absl::string_view bytes,
                                       const ImageLimits& limits,
                                       const Unwanted& unwanted) {
  if (unwanted && unwanted()) return UnwantedImage(kFormat);
  if (HasTooManyChunks(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("WebP image: it has more than ", kMaxChunks,
                     " chunks; save it again, as a single picture"));
  }
  const WebPData data = {reinterpret_cast<const uint8_t*>(bytes.data()),
                         bytes.size()};
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
  if (demuxer == nullptr) {
    return DamagedImage(kFormat, "its chunks do not make a picture");
  }
  const uint32_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const uint32_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  const absl::Status size = CheckImageSize(kFormat, width, height, limits);
  if (!size.ok()) return size;

  WebPIterator frame;
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    return DamagedImage(kFormat, "it has no frame");
  }
  StoredImage stored;
  stored.orientation = Orientation(demuxer.get());
  stored.image = BlackImage(static_cast<int>(width), static_cast<int>(height));
  const absl::Status decoded = DecodeFrame(frame, &stored.image);
  WebPDemuxReleaseIterator(&frame);
  if (!decoded.ok()) return decoded;
  return stored;
}

}  // namespace lapidary
