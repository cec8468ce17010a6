// Files that a test changes: whole, by bit, or as safetensors of any content.
#ifndef LAPIDARY_TESTS_SUPPORT_FILES_H_
#define LAPIDARY_TESTS_SUPPORT_FILES_H_

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"

namespace lapidary {

inline std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  EXPECT_TRUE(file.good()) << path;
}

// Turns over one bit, counted from the file's first byte; the same again
// restores it.
inline void FlipBit(const std::string& path, uint64_t bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
  EXPECT_TRUE(file.good()) << path;
}

// The bytes of a safetensors file with this header, valid or not.
inline std::string Safetensors(const std::string& header,
                               const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  }
  return bytes + header + data;
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_FILES_H_
