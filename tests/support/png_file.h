// PNG files made chunk by chunk.
#ifndef LAPIDARY_TESTS_SUPPORT_PNG_FILE_H_
#define LAPIDARY_TESTS_SUPPORT_PNG_FILE_H_

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace lapidary {

inline std::string BigEndian(uint32_t number) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(number >> shift));
  }
  return bytes;
}

inline std::string PngChunk(const std::string& name, const std::string& data) {
  const std::string body = name + data;
  const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()),
                         static_cast<uInt>(body.size()));
  return BigEndian(static_cast<uint32_t>(data.size())) + body +
         BigEndian(static_cast<uint32_t>(crc));
}

//   depth        bits of a sample
//   colour_type  2: RGB, 6: RGBA
//   data         deflated rows, each behind a byte that names its filter
inline std::string PngFile(uint32_t width, uint32_t height, char depth,
                           char colour_type, const std::string& data) {
  const std::string kind = {depth, colour_type, '\0', '\0', '\0'};
  return "\x89PNG\r\n\x1a\n" +
         PngChunk("IHDR", BigEndian(width) + BigEndian(height) + kind) +
         PngChunk("IDAT", data) + PngChunk("IEND", "");
}

// Deflated by zlib.
inline std::string Deflated(const std::string& data) {
  std::string deflated(compressBound(data.size()), '\0');
  uLongf size = deflated.size();
  if (compress(reinterpret_cast<Bytef*>(deflated.data()), &size,
               reinterpret_cast<const Bytef*>(data.data()),
               data.size()) != Z_OK) {
    return "";
  }
  deflated.resize(size);
  return deflated;
}

// A whole picture of 16-bit RGBA, all black: small to send, long to decode.
inline std::string BlackPng(uint32_t side) {
  return PngFile(side, side, /*depth=*/16, /*colour_type=*/6,
                 Deflated(std::string(size_t{side} * (side * 8 + 1), '\0')));
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_PNG_FILE_H_
