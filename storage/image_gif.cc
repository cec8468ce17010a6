// GIF through giflib.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gif_lib.h"
#include "storage/image_codecs.h"

namespace lapidary {
namespace {

constexpr char kFormat[] = "GIF";

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, CloseGif>;

absl::Status GifError(int code) {
  const char* reason = GifErrorString(code);
  return DamagedImage(kFormat, reason == nullptr ? "cannot be read" : reason);
}

// giflib's reader: the bytes that are there, up to `count`.
int Read(GifFileType* gif, GifByteType* out, int count) {
  auto* rest = static_cast<absl::string_view*>(gif->UserData);
  const size_t taken = std::min<size_t>(rest->size(), std::max(count, 0));
  if (taken > 0) std::memcpy(out, rest->data(), taken);
  rest->remove_prefix(taken);
  return static_cast<int>(taken);
}

// Reads an extension; `transparent` becomes its transparent colour, if it is
// one that names any.
absl::Status ReadExtension(GifFileType* gif, int* transparent) {
  int code = 0;
  GifByteType* block = nullptr;
  if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) {
    return GifError(gif->Error);
  }
  while (block != nullptr) {
    GraphicsControlBlock control;
    // The block's first byte is its length.
    if (code == GRAPHICS_EXT_FUNC_CODE &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
      *transparent = control.TransparentColor;
    }
    if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) {
      return GifError(gif->Error);
    }
  }
  return absl::OkStatus();
}

// Reads up to the pixels of the first frame.
absl::Status ReadToFrame(GifFileType* gif, int* transparent) {
  while (true) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &record) == GIF_ERROR) {
      return GifError(gif->Error);
    }
    switch (record) {
      case IMAGE_DESC_RECORD_TYPE:
        if (DGifGetImageDesc(gif) == GIF_ERROR) return GifError(gif->Error);
        return absl::OkStatus();
      case EXTENSION_RECORD_TYPE: {
        absl::Status status = ReadExtension(gif, transparent);
        if (!status.ok()) return status;
        break;
      }
      default:
        return DamagedImage(kFormat, "it has no frame");
    }
  }
}

// The rows of a frame in the order in which they are stored.
std::vector<int> StoredRows(const GifImageDesc& frame) {
  std::vector<int> rows;
  rows.reserve(frame.Height);
  if (!frame.Interlace) {
    for (int row = 0; row < frame.Height; ++row) rows.push_back(row);
    return rows;
  }
  const struct { int first, step; } passes[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (const auto& pass : passes) {
    for (int row = pass.first; row < frame.Height; row += pass.step) {
      rows.push_back(row);
    }
  }
  return rows;
}

// 256 colours, RGB. Black where the file's table ends; grey without a table.
std::vector<uint8_t> Palette(const ColorMapObject* map) {
  std::vector<uint8_t> palette(size_t{256} * 3, 0);
  for (int color = 0; color < 256; ++color) {
    uint8_t* const rgb = &palette[static_cast<size_t>(color) * 3];
    if (map == nullptr) {
      std::fill_n(rgb, 3, static_cast<uint8_t>(color));
    } else if (color < map->ColorCount) {
      rgb[0] = map->Colors[color].Red;
      rgb[1] = map->Colors[color].Green;
      rgb[2] = map->Colors[color].Blue;
    }
  }
  return palette;
}

// Reads the frame that comes next to its place on the canvas.
absl::Status ReadFrame(GifFileType* gif, int background,
                       const Unwanted& unwanted, Image* canvas) {
  const GifImageDesc& frame = gif->Image;
  const std::vector<uint8_t> palette =
      Palette(frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap);
  const size_t pixels = canvas->rgb.size() / 3;
  for (size_t pixel = 0; pixel < pixels; ++pixel) {
    std::memcpy(&canvas->rgb[pixel * 3], &palette[background * size_t{3}], 3);
  }
  std::vector<GifPixelType> colors(frame.Width);
  for (const int row : StoredRows(frame)) {
    if (unwanted && unwanted()) return UnwantedImage(kFormat);
    if (DGifGetLine(gif, colors.data(), frame.Width) == GIF_ERROR) {
      return GifError(gif->Error);
    }
    const size_t first =
        static_cast<size_t>(frame.Top + row) * canvas->width + frame.Left;
    uint8_t* rgb = &canvas->rgb[first * 3];
    for (const GifPixelType color : colors) {
      std::memcpy(rgb, &palette[color * size_t{3}], 3);
      rgb += 3;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StoredImage> DecodeGif(absl::string_view bytes,
                                      const ImageLimits& limits,
                                      const Unwanted& unwanted) {
  int error = 0;
  const Gif gif(DGifOpen(&bytes, Read, &error));
  if (gif == nullptr) return GifError(error);
  int transparent = NO_TRANSPARENT_COLOR;
  absl::Status status = ReadToFrame(gif.get(), &transparent);
  if (!status.ok()) return status;

  // A frame that leaves the canvas makes it larger, as in PIL. All five
  // numbers have 16 bits.
  const GifImageDesc& frame = gif->Image;
  if (frame.Width <= 0 || frame.Height <= 0) {
    return DamagedImage(kFormat, "its first frame has no pixels");
  }
  const int width = std::max(gif->SWidth, frame.Left + frame.Width);
  const int height = std::max(gif->SHeight, frame.Top + frame.Height);
  status = CheckImageSize(kFormat, width, height, limits);
  if (!status.ok()) return status;

  StoredImage stored;
  stored.image = BlackImage(width, height);
  status =
      ReadFrame(gif.get(), std::max(transparent, 0), unwanted, &stored.image);
  if (!status.ok()) return status;
  return stored;
}

}  // namespace lapidary
