// Sound files that a test makes with libsndfile.
#ifndef LAPIDARY_TESTS_SUPPORT_SOUND_FILES_H_
#define LAPIDARY_TESTS_SUPPORT_SOUND_FILES_H_

#include <sndfile.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {

// The bytes of a file of that format (SF_FORMAT_*) with these frames.
//   frames  [count][channels]
inline std::string MakeSoundFile(int format, int rate, int channels,
                                 const std::vector<float>& frames) {
  struct Memory {
    std::string bytes;
    size_t at = 0;
    static Memory* Of(void* data) { return static_cast<Memory*>(data); }
  } memory;
  SF_VIRTUAL_IO calls = {};
  calls.get_filelen = [](void* data) -> sf_count_t {
    return static_cast<sf_count_t>(Memory::Of(data)->bytes.size());
  };
  calls.seek = [](sf_count_t offset, int whence, void* data) -> sf_count_t {
    Memory* m = Memory::Of(data);
    const size_t from = whence == SEEK_SET   ? 0
                        : whence == SEEK_CUR ? m->at
                                             : m->bytes.size();
    m->at = from + offset;
    return static_cast<sf_count_t>(m->at);
  };
  calls.read = [](void* to, sf_count_t count, void* data) -> sf_count_t {
    Memory* m = Memory::Of(data);
    const size_t some = std::min<size_t>(
        count, m->bytes.size() - std::min(m->at, m->bytes.size()));
    std::memcpy(to, m->bytes.data() + m->at, some);
    m->at += some;
    return static_cast<sf_count_t>(some);
  };
  calls.write = [](const void* from, sf_count_t count,
                   void* data) -> sf_count_t {
    Memory* m = Memory::Of(data);
    if (m->bytes.size() < m->at + count) m->bytes.resize(m->at + count);
    std::memcpy(m->bytes.data() + m->at, from, count);
    m->at += count;
    return count;
  };
  calls.tell = [](void* data) -> sf_count_t {
    return static_cast<sf_count_t>(Memory::Of(data)->at);
  };
  SF_INFO info = {};
  info.samplerate = rate;
  info.channels = channels;
  info.format = format;
  SNDFILE* file = sf_open_virtual(&calls, SFM_WRITE, &info, &memory);
  EXPECT_NE(file, nullptr) << sf_strerror(nullptr);
  if (file == nullptr) return "";
  const auto count = static_cast<sf_count_t>(frames.size() / channels);
  // Not all at once, which the Vorbis encoder has no stack for.
  for (sf_count_t at = 0; at < count; at += 4096) {
    const sf_count_t some = std::min<sf_count_t>(4096, count - at);
    EXPECT_EQ(sf_writef_float(file, &frames[at * channels], some), some);
  }
  sf_close(file);
  return memory.bytes;
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_SOUND_FILES_H_
