// What images may not do to a server: named errors for everything that is not
// a whole picture of a sensible size. The good ones: image_golden_test.cc.
#include "storage/image_decoder.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/image_goldens.h"
#include "tests/support/png_file.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

absl::Status Decoding(absl::string_view bytes,
                      const ImageLimits& limits = ImageLimits()) {
  return DecodeImage(bytes, limits).status();
}

void ExpectInvalid(const absl::Status& status,
                   const std::vector<std::string>& words) {
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  for (const std::string& word : words) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
}

// A PNG file of 8-bit RGB whose header says width x height, with few pixels.
std::string PngHeader(uint32_t width, uint32_t height) {
  return PngFile(width, height, /*depth=*/8, /*colour_type=*/2, "few");
}

// `bytes` with `replacement` at `offset`.
std::string With(std::string bytes, size_t offset,
                 const std::string& replacement) {
  return bytes.replace(offset, replacement.size(), replacement);
}

// jpg_420.jpg, whose frame header says width x height (16 bits each).
std::string JpegOfSize(int width, int height) {
  const std::string jpeg = ImageFile("jpg_420.jpg");
  const size_t frame = jpeg.find("\xFF\xC0");
  // Marker, length, precision; then height and width.
  return With(jpeg, frame + 5,
              BigEndian(static_cast<uint32_t>(height) << 16 | width));
}

TEST(ImageDecoder, HugeHeader_IsRefusedBeforePixelsAreAllocated) {
  ExpectInvalid(Decoding(PngHeader(100'000, 100'000)),
                {"PNG", "100000 x 100000", "32768", "scale it down"});
  ExpectInvalid(Decoding(PngHeader(0x7FFFFFFF, 0x7FFFFFFF)),
                {"2147483647 x 2147483647", "limit"});
  ExpectInvalid(Decoding(PngHeader(30'000, 30'000)),
                {"900000000 pixels", "50000000", "scale it down"});
  ExpectInvalid(Decoding(JpegOfSize(65'535, 10)),
                {"JPEG", "65535 x 10", "32768 a side", "scale it down"});
  ExpectInvalid(Decoding(JpegOfSize(65'500, 65'500)),
                {"JPEG", "65500 x 65500", "limit"});
  // Width and height less one, of 24 bits each, after 24 bytes.
  ExpectInvalid(Decoding(With(ImageFile("webp_animated.webp"), 24,
                              std::string("\xFE\xFF\0\xFE\xFF\0", 6))),
                {"WebP", "65535 x 65535", "limit"});
  ExpectInvalid(
      Decoding(With(ImageFile("gif_grey.gif"), 6, "\xFF\xFF\xFF\xFF")),
      {"GIF", "65535 x 65535", "limit"});
}

TEST(ImageDecoder, HeaderWithinLimitsWithoutPixels_IsAnError) {
  ExpectInvalid(Decoding(PngHeader(5000, 5000)), {"PNG", "send all of it"});
  ExpectInvalid(Decoding(JpegOfSize(5000, 5000)), {"JPEG", "send all of it"});
}

TEST(ImageDecoder, Limits_AreTheCallers) {
  const std::string jpeg = ImageFile("jpg_420.jpg");  // 163 x 121
  ImageLimits limits;
  limits.max_pixels = int64_t{163} * 121;
  limits.max_side = 163;
  limits.max_bytes = jpeg.size();
  EXPECT_TRUE(Decoding(jpeg, limits).ok());

  ImageLimits pixels = limits;
  --pixels.max_pixels;
  ExpectInvalid(Decoding(jpeg, pixels), {"163 x 121 = 19723 pixels", "19722"});
  ImageLimits side = limits;
  --side.max_side;
  ExpectInvalid(Decoding(jpeg, side), {"163 x 121", "162 a side"});
  ImageLimits bytes = limits;
  --bytes.max_bytes;
  ExpectInvalid(Decoding(jpeg, bytes),
                {absl::StrCat(jpeg.size(), " bytes"), "limit", "compress"});
}

TEST(ImageDecoder, ZeroSize_IsAnError) {
  ExpectInvalid(Decoding(PngHeader(0, 5)), {"PNG", "0 x 5"});
  ExpectInvalid(Decoding(PngHeader(5, 0)), {"PNG", "5 x 0"});
  ExpectInvalid(Decoding(JpegOfSize(0, 5)), {"JPEG"});
  ExpectInvalid(Decoding(JpegOfSize(5, 0)), {"JPEG"});
  const std::string gif = ImageFile("gif_grey.gif");
  const size_t frame = gif.find(std::string(",\0\0\0\0", 5));
  ExpectInvalid(Decoding(With(gif, frame + 5, std::string("\0\0", 2))),
                {"GIF", "no pixels"});
}

TEST(ImageDecoder, EveryPrefix_IsAnError) {
  for (const char* name :
       {"png_adam7_tiny.png", "png_exif8_last.png", "png_palette4.png",
        "jpg_1x1.jpg", "jpg_17x13.jpg", "jpg_progressive_444.jpg",
        "jpg_cmyk.jpg", "webp_1x1.webp", "webp_lossy.webp", "webp_exif5.webp",
        "webp_lossless_palette.webp"}) {
    SCOPED_TRACE(name);
    const std::string file = ImageFile(name);
    for (size_t size = 0; size < file.size(); ++size) {
      ASSERT_TRUE(absl::IsInvalidArgument(
          Decoding(absl::string_view(file).substr(0, size))))
          << size << " of " << file.size() << " bytes";
    }
  }
}

TEST(ImageDecoder, GifWithoutAllPixels_IsAnError) {
  const std::string gif = ImageFile("gif_4colors.gif");
  // Last are the end of the pixels and of the file, which tell nothing.
  EXPECT_TRUE(Decoding(gif.substr(0, gif.size() - 1)).ok());
  for (size_t size = 0; size + 3 < gif.size(); ++size) {
    ASSERT_TRUE(absl::IsInvalidArgument(Decoding(gif.substr(0, size)))) << size;
  }
}

TEST(ImageDecoder, PngWithAFlippedBit_IsAnError) {
  const std::string png = ImageFile("png_palette4.png");
  for (size_t at = 0; at < png.size(); ++at) {
    ASSERT_FALSE(
        Decoding(With(png, at, std::string(1, static_cast<char>(png[at] ^ 4))))
            .ok())
        << at;
  }
}

// PIL shows the rest of such a picture in grey.
TEST(ImageDecoder, JpegCutOffAndEnded_IsAnError) {
  for (const char* name : {"jpg_420.jpg", "jpg_progressive.jpg"}) {
    const std::string jpeg = ImageFile(name);
    ExpectInvalid(Decoding(jpeg.substr(0, jpeg.size() / 2) + "\xFF\xD9"),
                  {"JPEG", "premature end", "send all of it"});
  }
}

TEST(ImageDecoder, PixelsOverwritten_AreAnErrorOrAPicture) {
  for (const char* name :
       {"jpg_restarts.jpg", "webp_lossless.webp", "gif_in_rows.gif"}) {
    SCOPED_TRACE(name);
    const std::string file = ImageFile(name);
    const absl::Status status = Decoding(
        With(file, file.size() / 2, std::string(file.size() / 4, '\xFF')));
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  }
}

// Some 10 GB, if all of it were.
TEST(ImageDecoder, PngTexts_AreNotInflated) {
  std::string zeros;
  zeros.resize(20'000'000);
  const std::string deflated = Deflated(zeros);
  ASSERT_FALSE(deflated.empty());
  std::string bombs;
  for (int i = 0; i < 500; ++i) {
    bombs += PngChunk("zTXt", std::string("Comment\0\0", 9) + deflated);
  }
  std::string png = ImageFile("png_grey8.png");
  png.insert(8 + 25,
             PngChunk("iCCP", std::string("name\0\0", 6) + deflated) + bombs);
  EXPECT_TRUE(Decoding(png).ok()) << Decoding(png);
}

TEST(ImageDecoder, JpegOfManyScans_IsAnError) {
  std::string jpeg = ImageFile("jpg_progressive.jpg");
  const size_t scan = jpeg.find("\xFF\xDA");
  const size_t next_table = jpeg.find("\xFF\xC4", scan);
  ASSERT_NE(next_table, std::string::npos);
  // The first scan, declared to hold all bits of its coefficients: it may then
  // come again.
  jpeg[scan + 4 + 1 + size_t{2} * 3 + 2] = '\0';
  const std::string again = jpeg.substr(scan, next_table - scan);
  std::string scans;
  for (int i = 0; i < 150; ++i) scans += again;
  jpeg.insert(scan, scans);
  ExpectInvalid(Decoding(jpeg), {"JPEG", "more than 100 scans"});
}

// The marker that holds EXIF, empty, again and again. Kept, as libjpeg keeps
// them, they would take hours.
TEST(ImageDecoder, JpegOfAMillionMarkers_IsReadOnce) {
  std::string markers;
  for (int i = 0; i < 1'000'000; ++i) markers.append("\xFF\xE1\x00\x02", 4);
  const std::string jpeg = ImageFile("jpg_420.jpg");
  const std::string many = jpeg.substr(0, 2) + markers + jpeg.substr(2);
  const auto image = DecodeImage(many, ImageLimits());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->rgb, DecodeImage(jpeg, ImageLimits())->rgb);
  int asked = 0;
  const auto stopped =
      DecodeImage(many, ImageLimits(), [&asked] { return ++asked >= 100; });
  EXPECT_TRUE(absl::IsCancelled(stopped.status()));
  EXPECT_EQ(asked, 100);
}

TEST(ImageDecoder, JpegOfManyExifBlocks_TellsItsOrientationInTheFirst) {
  const std::string jpeg = ImageFile("jpg_exif6.jpg");
  const size_t exif = jpeg.find("\xFF\xE1");
  ASSERT_NE(exif, std::string::npos);
  const size_t end = exif + 2 + static_cast<uint8_t>(jpeg[exif + 2]) * 256 +
                     static_cast<uint8_t>(jpeg[exif + 3]);
  std::string blocks;
  for (int i = 0; i < 40; ++i) {
    blocks.append("\xFF\xE1\x00\x09", 4).append("Exif\0\0x", 7);
  }
  const auto image = DecodeImage(
      jpeg.substr(0, end) + blocks + jpeg.substr(end), ImageLimits());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->rgb, DecodeImage(jpeg, ImageLimits())->rgb);
}

// Red without bounds under AddressSanitizer alone: what reads on skips on.
TEST(ImageDecoder, JpegMarkerBeyondTheFile_IsAnError) {
  const std::string jpeg = ImageFile("jpg_420.jpg").substr(0, 2);
  for (const absl::string_view rest :
       {absl::string_view("\xFF\xE1", 2), absl::string_view("\xFF\xE1\x00", 3),
        absl::string_view("\xFF\xE1\x00\x10"
                          "Exif",
                          8)}) {
    ExpectInvalid(Decoding(absl::StrCat(jpeg, rest)), {"JPEG", "ends before"});
  }
}

TEST(ImageDecoder, WebpOfManyChunks_IsAnError) {
  std::string webp = ImageFile("webp_lossy_alpha.webp");
  for (int i = 0; i < 70'000; ++i) webp.append("ABCD\0\0\0\0", 8);
  const auto size = static_cast<uint32_t>(webp.size() - 8);
  for (int i = 0; i < 4; ++i) webp[4 + i] = static_cast<char>(size >> 8 * i);
  ExpectInvalid(Decoding(webp), {"WebP", "more than 65536 chunks"});
  webp = ImageFile("webp_lossy_alpha.webp");
  EXPECT_TRUE(Decoding(webp + std::string(1 << 20, '\0')).ok())
      << "what follows the picture is no chunk";
}

TEST(ImageDecoder, Unwanted_StopsAtTheNextRow) {
  for (const char* name : {"png_rgb8.png", "png_adam7_rgb8.png", "jpg_420.jpg",
                           "jpg_progressive.jpg", "gif_in_rows.gif"}) {
    const std::string file = ImageFile(name);
    int asked = 0;
    const auto whole = DecodeImage(file, ImageLimits(), [&asked] {
      ++asked;
      return false;
    });
    ASSERT_TRUE(whole.ok()) << name << whole.status();
    EXPECT_EQ(whole->rgb, DecodeImage(file, ImageLimits())->rgb) << name;
    const int all = asked;
    EXPECT_GE(all, whole->height / 16) << name;
    for (const int last : {1, 2, all / 2, all}) {
      asked = 0;
      const auto stopped = DecodeImage(
          file, ImageLimits(), [&asked, last] { return ++asked >= last; });
      EXPECT_TRUE(absl::IsCancelled(stopped.status())) << name;
      EXPECT_EQ(asked, last) << name;
    }
  }
}

TEST(ImageDecoder, OtherFiles_AreNamed) {
  const struct {
    std::string bytes;
    const char* name;
  } files[] = {
      {"", "no bytes"},
      {"BM6\x03", "BMP"},
      {std::string("II*\0", 4), "TIFF"},
      {std::string("\0\0\0\x1C"
                   "ftypavif",
                   12),
       "AVIF"},
      {std::string("\0\0\0\x1C"
                   "ftypheic",
                   12),
       "HEIC"},
      {std::string("\0\0\0\x1C"
                   "ftypisom",
                   12),
       "MP4"},
      {"%PDF-1.7", "PDF"},
      {std::string("RIFF\x24\0\0\0WAVEfmt ", 16), "WAV"},
      {"<svg xmlns=", "SVG"},
      {"<!DOCTYPE html>", "HTML"},
      {"data:image/png;base64,iVBORw0KGgo", "data URL"},
      {absl::Base64Escape(ImageFile("png_1x1.png")), "base64 text of a PNG"},
      {absl::Base64Escape(ImageFile("jpg_1x1.jpg")), "base64 text of a JPEG"},
      {"hello, world", "68656c6c6f2c2077"},
  };
  for (const auto& file : files) {
    ExpectInvalid(Decoding(file.bytes),
                  {file.name, "send the bytes of a PNG, JPEG, WebP or GIF"});
  }
}

TEST(ImageDecoder, MagicAlone_IsAnError) {
  for (const std::string& magic :
       {std::string("\x89PNG\r\n\x1a\n"), std::string("\xFF\xD8\xFF"),
        std::string("RIFF\0\0\0\0WEBP", 12), std::string("GIF89a")}) {
    ExpectInvalid(Decoding(magic), {"image"});
  }
}

TEST(ImageDecoder, BadFiles_PrintNothing) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  for (const Json& golden : ImageGoldens()) {
    std::string file = ImageFile(golden["file"].get<std::string>());
    if (file.size() > 30'000) continue;
    for (size_t at = 20; at < file.size(); at += 1 + file.size() / 20) {
      DecodeImage(With(file, at, "\x55"), ImageLimits()).IgnoreError();
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace lapidary
