#include "storage/sound_file.h"

#include <sndfile.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/little_endian.h"
#include "storage/sound_resampler.h"

namespace lapidary {
namespace {

// Values that are decoded at once.
constexpr int64_t kBlockValues = 1 << 14;

// A file in memory, as libsndfile reads one.
struct MemoryFile {
  absl::string_view bytes;
  sf_count_t at = 0;

  sf_count_t size() const { return static_cast<sf_count_t>(bytes.size()); }

  static MemoryFile* Of(void* data) { return static_cast<MemoryFile*>(data); }

  static SF_VIRTUAL_IO Calls() {
    SF_VIRTUAL_IO calls = {};
    calls.get_filelen = [](void* data) { return Of(data)->size(); };
    calls.seek = [](sf_count_t offset, int whence, void* data) -> sf_count_t {
      MemoryFile* file = Of(data);
      const sf_count_t from = whence == SEEK_SET   ? 0
                              : whence == SEEK_CUR ? file->at
                                                   : file->size();
      if (offset < -from || offset > file->size() - from) return -1;
      return file->at = from + offset;
    };
    calls.read = [](void* to, sf_count_t count, void* data) -> sf_count_t {
      MemoryFile* file = Of(data);
      count = std::clamp<sf_count_t>(count, 0, file->size() - file->at);
      std::memcpy(to, file->bytes.data() + file->at, count);
      file->at += count;
      return count;
    };
    calls.write = [](const void* /*from*/, sf_count_t /*count*/,
                     void* /*data*/) -> sf_count_t { return 0; };
    calls.tell = [](void* data) { return Of(data)->at; };
    return calls;
  }
};

struct Closer {
  void operator()(SNDFILE* file) const { sf_close(file); }
};

// "" for a kind that is not taken.
const char* FormatName(int format) {
  switch (format & SF_FORMAT_TYPEMASK) {
    case SF_FORMAT_WAV:
    case SF_FORMAT_WAVEX:
    case SF_FORMAT_RF64:
      return "WAV";
    case SF_FORMAT_FLAC:
      return "FLAC";
    case SF_FORMAT_OGG:
      return (format & SF_FORMAT_SUBMASK) == SF_FORMAT_OPUS ? "Ogg Opus" : "";
    default:
      return "";
  }
}

// The checksum of an Ogg page, whose own four bytes count as 0.
uint32_t OggChecksum(absl::string_view page) {
  static const std::vector<uint32_t>* const table = [] {
    auto* made = new std::vector<uint32_t>(256);
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t r = i << 24;
      for (int bit = 0; bit < 8; ++bit) {
        r = (r & 0x80000000u) != 0 ? (r << 1) ^ 0x04C11DB7u : r << 1;
      }
      (*made)[i] = r;
    }
    return made;
  }();
  uint32_t sum = 0;
  for (size_t i = 0; i < page.size(); ++i) {
    const bool own = i >= 22 && i < 26;
    const uint32_t byte = own ? 0 : static_cast<unsigned char>(page[i]);
    sum = (sum << 8) ^ (*table)[(sum >> 24) ^ byte];
  }
  return sum;
}

// Decodes all that an open file has.
absl::Status DecodeAll(SNDFILE* file, const SF_INFO& info,
                       const SoundLimits& limits, Sound* sound) {
  auto resampler = SoundResampler::Make(sound->format, info.samplerate,
                                        info.channels, limits);
  if (!resampler.ok()) return resampler.status();
  const int64_t block = std::max<int64_t>(1, kBlockValues / info.channels);
  std::vector<float> frames(block * info.channels);
  for (;;) {
    const sf_count_t count = sf_readf_float(file, frames.data(), block);
    if (sf_error(file) != SF_ERR_NO_ERROR) {
      return DamagedSound(sound->format,
                          absl::StrCat("after ", (*resampler)->frames(),
                                       " samples: ", sf_strerror(file)));
    }
    if (count <= 0) break;
    if (auto s = (*resampler)->Push(frames.data(), count, &sound->samples);
        !s.ok()) {
      return s;
    }
  }
  const bool known = info.frames < SF_COUNT_MAX;
  if (known && (*resampler)->frames() < info.frames) {
    return DamagedSound(sound->format,
                        absl::StrCat("it ends after ", (*resampler)->frames(),
                                     " of ", info.frames, " samples"));
  }
  if ((*resampler)->frames() == 0) {
    return DamagedSound(sound->format, "it has no samples");
  }
  return (*resampler)->Finish(&sound->samples);
}

}  // namespace

absl::Status CheckWav(absl::string_view bytes) {
  size_t at = 12;
  while (at + 8 <= bytes.size()) {
    const uint64_t size = LittleEndian(bytes.substr(at + 4, 4));
    const uint64_t left = bytes.size() - at - 8;
    if (bytes.substr(at, 4) == "data") {
      // Whoever writes to a pipe does not know the size.
      const bool unknown = size == 0 || size >= 0x7FFFFF00u;
      if (size <= left || unknown) return absl::OkStatus();
      return DamagedSound(
          "WAV", absl::StrCat("its header says ", size,
                              " bytes of samples, and ", left, " follow"));
    }
    if (size > left) break;
    at += 8 + size + size % 2;
  }
  return DamagedSound("WAV", "it ends before its samples begin");
}

absl::Status CheckOgg(absl::string_view bytes) {
  constexpr size_t kHeader = 27;
  size_t at = 0;
  for (int64_t page = 0; at < bytes.size(); ++page) {
    const absl::string_view rest = bytes.substr(at);
    const std::string name = absl::StrCat("page ", page);
    if (rest.substr(0, 4) != absl::string_view("OggS").substr(0, rest.size())) {
      return DamagedSound("Ogg", absl::StrCat(name, " does not begin as one"));
    }
    size_t size = kHeader;
    if (rest.size() >= size) {
      const size_t segments = static_cast<unsigned char>(rest[26]);
      size += segments;
      for (size_t i = 0; i < segments && kHeader + i < rest.size(); ++i) {
        size += static_cast<unsigned char>(rest[kHeader + i]);
      }
    }
    if (size > rest.size()) {
      return DamagedSound("Ogg", absl::StrCat(name, " is cut off"));
    }
    if (OggChecksum(rest.substr(0, size)) != LittleEndian(rest.substr(22, 4))) {
      return DamagedSound("Ogg", absl::StrCat(name, " has a wrong checksum"));
    }
    at += size;
  }
  return absl::OkStatus();
}

absl::StatusOr<Sound> DecodeSoundFile(absl::string_view bytes,
                                      const SoundLimits& limits) {
  MemoryFile memory = {bytes};
  SF_VIRTUAL_IO calls = MemoryFile::Calls();
  SF_INFO info = {};
  const std::unique_ptr<SNDFILE, Closer> file(
      sf_open_virtual(&calls, SFM_READ, &info, &memory));
  if (file == nullptr) {
    return DamagedSound(bytes.substr(0, 4) == "fLaC"   ? "FLAC"
                        : bytes.substr(0, 4) == "OggS" ? "Ogg"
                                                       : "WAV",
                        "its header cannot be read");
  }
  Sound sound;
  sound.format = FormatName(info.format);
  if (sound.format.empty()) {
    return DamagedSound("audio",
                        "it is neither WAV, FLAC, Ogg Vorbis nor Ogg Opus");
  }
  sound.rate = info.samplerate;
  sound.channels = info.channels;
  if (auto s =
          CheckSoundShape(sound.format, info.samplerate, info.channels, limits);
      !s.ok()) {
    return s;
  }
  if (info.frames > 0 && info.frames < SF_COUNT_MAX) {
    if (auto s = CheckSoundLength(sound.format, info.frames, info.samplerate,
                                  limits);
        !s.ok()) {
      return s;
    }
  }
  if (auto s = DecodeAll(file.get(), info, limits, &sound); !s.ok()) return s;
  return sound;
}

}  // namespace lapidary
