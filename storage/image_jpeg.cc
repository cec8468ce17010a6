// JPEG through libjpeg-turbo, with the settings that PIL leaves: the accurate
// integer DCT and smooth upsampling of chroma.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
// jpeglib.h needs <cstdio> and <cstddef> before it; jerror.h needs jpeglib.h.
#include "jpeglib.h"
// clang-format off
#include "jerror.h"
// clang-format on
#include "storage/image_codecs.h"
#include "storage/image_orientation.h"

namespace lapidary {
namespace {

constexpr char kFormat[] = "JPEG";
constexpr int kExifMarker = JPEG_APP0 + 1;
constexpr absl::string_view kExifName("Exif\0\0", 6);
// Each scan of a progressive picture passes over all of its blocks, whether it
// says anything about them or not. Encoders write about ten.
constexpr int kMaxScans = 100;
// EXIF blocks of a marker each, 64 KB, that are read; cameras write one or two.
constexpr int kMaxExifBlocks = 16;
// Markers that are passed over between two questions whether to go on.
constexpr int kMarkersPerPoll = 64;

// libjpeg's state, and where its errors jump to. libjpeg jumps over frames of
// its own and of the callbacks below; neither those nor the methods that call
// setjmp have anything to destroy.
class JpegReader {
 public:
  JpegReader(absl::string_view bytes, const Unwanted& unwanted)
      : unwanted_(unwanted) {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
    errors_.output_message = [](j_common_ptr) {};
    jpeg_.client_data = this;

    source_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    source_.bytes_in_buffer = bytes.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = OnEnd;
    source_.skip_input_data = Skip;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    progress_.progress_monitor = OnProgress;
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }

  // After a method has returned false.
  absl::Status error() const {
    if (stopped_) return UnwantedImage(kFormat);
    if (jpeg_.err->msg_code == JERR_OUT_OF_MEMORY) {
      return absl::ResourceExhaustedError("JPEG image: no memory to decode it");
    }
    if (has_too_many_scans_) {
      return absl::InvalidArgumentError(
          absl::StrCat("JPEG image: it has more than ", kMaxScans,
                       " scans; save it again, as a baseline JPEG"));
    }
    return DamagedImage(kFormat, error_);
  }

  // Whether the header names a size that libjpeg has no numbers for.
  bool too_big() const { return jpeg_.err->msg_code == JERR_IMAGE_TOO_BIG; }

  // All markers before the pixels.
  bool ReadHeader() {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.src = &source_;
    jpeg_.progress = &progress_;
    jpeg_set_marker_processor(&jpeg_, kExifMarker, OnExif);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  const jpeg_decompress_struct& header() const { return jpeg_; }

  // A long one goes on in further markers of the same name.
  std::string Exif() const {
    return absl::StrJoin(exif_, exif_ + exif_blocks_, "");
  }

  // Writes [height][width][3] through `row`, which has room for a row of
  // header().num_components or 3 bytes a pixel, whichever is more. Reads the
  // file to its end.
  bool ReadPixels(JSAMPROW row, uint8_t* rgb);

 private:
  static JpegReader* Of(j_common_ptr jpeg) {
    return static_cast<JpegReader*>(jpeg->client_data);
  }

  [[noreturn]] static void OnError(j_common_ptr jpeg) {
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    std::snprintf(Of(jpeg)->error_, sizeof(error_), "%s", message);
    std::longjmp(Of(jpeg)->jump_, 1);
  }

  [[noreturn]] static void Fail(j_common_ptr jpeg, const char* why) {
    std::snprintf(Of(jpeg)->error_, sizeof(error_), "%s", why);
    std::longjmp(Of(jpeg)->jump_, 1);
  }

  // Negative levels are warnings, after which libjpeg goes on with what it can
  // make of the data: pixels that nobody has sent. Three are harmless.
  static void OnMessage(j_common_ptr jpeg, int level) {
    const int code = jpeg->err->msg_code;
    if (level >= 0 || code == JWRN_EXTRANEOUS_DATA ||
        code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR) {
      return;
    }
    OnError(jpeg);
  }

  static boolean OnEnd(j_decompress_ptr jpeg) {
    Fail(reinterpret_cast<j_common_ptr>(jpeg),
         "the file ends before its picture does");
  }

  // Instead of jpeg_save_markers, which walks through all that it has saved
  // for each marker that comes: a file may have millions.
  static boolean OnExif(j_decompress_ptr jpeg) {
    const jpeg_source_mgr& source = *jpeg->src;
    if (source.bytes_in_buffer < 2) OnEnd(jpeg);
    const JOCTET* const at = source.next_input_byte;
    const size_t size = size_t{at[0]} * 256 + at[1];  // its own two bytes too
    if (size > source.bytes_in_buffer) OnEnd(jpeg);
    const absl::string_view data(reinterpret_cast<const char*>(at) + 2,
                                 size < 2 ? 0 : size - 2);
    JpegReader* const reader = Of(reinterpret_cast<j_common_ptr>(jpeg));
    if (data.substr(0, kExifName.size()) == kExifName &&
        reader->exif_blocks_ < kMaxExifBlocks) {
      reader->exif_[reader->exif_blocks_++] = data.substr(kExifName.size());
    }
    Skip(jpeg, static_cast<long>(2 + data.size()));  // NOLINT: its type
    return TRUE;
  }

  static void Skip(j_decompress_ptr jpeg, long count) {  // NOLINT: its type
    JpegReader* const reader = Of(reinterpret_cast<j_common_ptr>(jpeg));
    if (++reader->markers_ % kMarkersPerPoll == 0) reader->StopIfUnwanted();
    if (count <= 0) return;
    if (static_cast<size_t>(count) > jpeg->src->bytes_in_buffer) OnEnd(jpeg);
    jpeg->src->next_input_byte += count;
    jpeg->src->bytes_in_buffer -= count;
  }

  // Before each row of pixels or, of a progressive picture, of blocks.
  static void OnProgress(j_common_ptr jpeg) {
    JpegReader* const reader = Of(jpeg);
    reader->StopIfUnwanted();
    if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number >
        kMaxScans) {
      reader->has_too_many_scans_ = true;
      std::longjmp(reader->jump_, 1);
    }
  }

  void StopIfUnwanted() {
    if (!unwanted_ || !unwanted_()) return;
    stopped_ = true;
    std::longjmp(jump_, 1);
  }

  jpeg_decompress_struct jpeg_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_;
  char error_[JMSG_LENGTH_MAX] = "";
  const Unwanted& unwanted_;
  bool stopped_ = false;
  bool has_too_many_scans_ = false;
  int64_t markers_ = 0;                     // passed over
  absl::string_view exif_[kMaxExifBlocks];  // of the file
  int exif_blocks_ = 0;
};

// One row of inverted CMYK, as Adobe writes it, to RGB with PIL's rounding:
// a*b/255 is (t + (t >> 8)) >> 8 with t = a*b + 128.
void InvertedCmykToRgb(const uint8_t* cmyk, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int white = cmyk[3];
    for (int channel = 0; channel < 3; ++channel) {
      const int product = (255 - cmyk[channel]) * white + 128;
      rgb[channel] =
          static_cast<uint8_t>(white - ((product + (product >> 8)) >> 8));
    }
  }
}

bool JpegReader::ReadPixels(JSAMPROW row, uint8_t* rgb) {
  if (setjmp(jump_) != 0) return false;
  const bool cmyk = jpeg_.num_components == 4;
  jpeg_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&jpeg_);
  const size_t row_bytes = static_cast<size_t>(jpeg_.output_width) * 3;
  while (jpeg_.output_scanline < jpeg_.output_height) {
    uint8_t* const out = rgb + jpeg_.output_scanline * row_bytes;
    jpeg_read_scanlines(&jpeg_, &row, 1);
    if (cmyk) {
      InvertedCmykToRgb(row, static_cast<int>(jpeg_.output_width), out);
    } else {
      std::memcpy(out, row, row_bytes);
    }
  }
  jpeg_finish_decompress(&jpeg_);
  return true;
}

}  // namespace

absl::StatusOr<StoredImage> DecodeJpeg(absl::string_view bytes,
                                       const ImageLimits& limits,
                                       const Unwanted& unwanted) {
  JpegReader reader(bytes, unwanted);
  const bool read = reader.ReadHeader();
  const jpeg_decompress_struct& header = reader.header();
  if (read || reader.too_big()) {
    const absl::Status size = CheckImageSize(kFormat, header.image_width,
                                             header.image_height, limits);
    if (!size.ok()) return size;
  }
  if (!read) return reader.error();
  const int channels = header.num_components;
  if (channels != 1 && channels != 3 && channels != 4) {
    return DamagedImage(kFormat, absl::StrCat("it has ", channels,
                                              " channels; 1, 3 and 4 are "
                                              "known"));
  }
  StoredImage stored;
  stored.orientation = ExifOrientation(reader.Exif());
  stored.image = BlackImage(static_cast<int>(header.image_width),
                            static_cast<int>(header.image_height));
  std::vector<JSAMPLE> row(static_cast<size_t>(header.image_width) * 4);
  if (!reader.ReadPixels(row.data(), stored.image.rgb.data())) {
    return reader.error();
  }
  return stored;
}

}  // namespace lapidary
