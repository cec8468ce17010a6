// PNG through libpng.
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "png.h"
#include "storage/image_codecs.h"
#include "storage/image_orientation.h"

namespace lapidary {
namespace {

constexpr char kFormat[] = "PNG";

// libpng's state, and where its errors jump to. libpng jumps over frames of
// its own and of the callbacks below; neither those nor the methods that call
// setjmp have anything to destroy.
class PngReader {
 public:
  PngReader(absl::string_view bytes, const Unwanted& unwanted)
      : rest_(bytes), unwanted_(unwanted) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError,
                                  [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  bool has_memory() const { return info_ != nullptr; }

  // After a method has returned false.
  absl::Status error() const {
    return stopped_ ? UnwantedImage(kFormat) : DamagedImage(kFormat, error_);
  }

  // All chunks before the pixels, and how the pixels are to come out: RGB8.
  bool ReadHeader() {
    if (setjmp(jump_) != 0) return false;
    png_set_read_fn(png_, this, Read);
    png_set_read_status_fn(png_, OnRow);
    // The size has been held against our own limits.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    // A wrong checksum is damage in any chunk, as for PIL.
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    // Texts and profiles are passed over, not inflated.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_AS_DEFAULT,
                                reinterpret_cast<png_const_bytep>("eXIf"), 1);
    png_read_info(png_, info_);
    png_set_expand(png_);
    png_set_strip_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }

  // `rows` has one pointer to row_bytes() for each row. Reads the file to its
  // end.
  bool ReadPixels(png_bytepp rows) {
    if (setjmp(jump_) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, info_);
    return true;
  }

  // The EXIF block; empty if there is none.
  absl::string_view Exif() {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return {};
    return {reinterpret_cast<const char*>(exif), size};
  }

 private:
  static void Read(png_structp png, png_bytep out, size_t count) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (reader->rest_.size() < count) {
      png_error(png, "the file ends before its last chunk does");
    }
    std::memcpy(out, reader->rest_.data(), count);
    reader->rest_.remove_prefix(count);
  }

  static void OnRow(png_structp png, png_uint_32, int) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (!reader->unwanted_ || !reader->unwanted_()) return;
    reader->stopped_ = true;
    std::longjmp(reader->jump_, 1);
  }

  [[noreturn]] static void OnError(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->error_, sizeof(reader->error_), "%s", message);
    std::longjmp(reader->jump_, 1);
  }

  absl::string_view rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
  char error_[128] = "";
  const Unwanted& unwanted_;
  bool stopped_ = false;
};

uint32_t BigEndian(absl::string_view four_bytes) {
  uint32_t number = 0;
  for (const char byte : four_bytes) {
    number = number << 8 | static_cast<uint8_t>(byte);
  }
  return number;
}

}  // namespace

absl::StatusOr<StoredImage> DecodePng(absl::string_view bytes,
                                      const ImageLimits& limits,
                                      const Unwanted& unwanted) {
  // Signature, then the chunk IHDR: length, name, width, height.
  if (bytes.size() < 24 || bytes.substr(12, 4) != "IHDR") {
    return DamagedImage(kFormat, "it does not begin with a header");
  }
  const uint32_t width = BigEndian(bytes.substr(16, 4));
  const uint32_t height = BigEndian(bytes.substr(20, 4));
  const absl::Status size = CheckImageSize(kFormat, width, height, limits);
  if (!size.ok()) return size;

  PngReader reader(bytes, unwanted);
  if (!reader.has_memory()) {
    return absl::ResourceExhaustedError("PNG image: no memory to decode it");
  }
  if (!reader.ReadHeader()) return reader.error();
  StoredImage stored;
  stored.image = BlackImage(static_cast<int>(width), static_cast<int>(height));
  const size_t row_bytes = static_cast<size_t>(width) * 3;
  if (reader.row_bytes() != row_bytes) {
    return DamagedImage(kFormat, "its colours cannot be made RGB");
  }
  std::vector<png_bytep> rows(height);
  for (size_t row = 0; row < height; ++row) {
    rows[row] = stored.image.rgb.data() + row * row_bytes;
  }
  if (!reader.ReadPixels(rows.data())) return reader.error();
  stored.orientation = ExifOrientation(reader.Exif());
  return stored;
}

}  // namespace lapidary
