#include "storage/sound_vorbis.h"

#include <vorbis/vorbisfile.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/sound_resampler.h"

namespace lapidary {
namespace {

constexpr char kName[] = "Ogg Vorbis";
constexpr int kBlockFrames = 4096;  // that are taken at once

// A stream that is read from its beginning to its end.
size_t ReadSome(void* to, size_t size, size_t count, void* data) {
  auto* rest = static_cast<absl::string_view*>(data);
  const size_t bytes = std::min(size * count, rest->size());
  std::memcpy(to, rest->data(), bytes);
  rest->remove_prefix(bytes);
  return size == 0 ? 0 : bytes / size;
}

class VorbisDecoder {
 public:
  explicit VorbisDecoder(const SoundLimits& limits) : limits_(limits) {}
  ~VorbisDecoder() {
    if (open_) ov_clear(&file_);
  }
  VorbisDecoder(const VorbisDecoder&) = delete;
  VorbisDecoder& operator=(const VorbisDecoder&) = delete;

  absl::StatusOr<Sound> Decode(absl::string_view bytes);

 private:
  // Of the stream that comes now: a file may hold several, one after another.
  absl::Status TakeFormat();
  absl::Status Take(float** channels, int64_t frames);

  const SoundLimits& limits_;
  OggVorbis_File file_ = {};
  bool open_ = false;
  std::unique_ptr<SoundResampler> resampler_;
  std::vector<float> block_;
  Sound sound_;
};

absl::Status VorbisDecoder::TakeFormat() {
  const vorbis_info* info = ov_info(&file_, -1);
  if (info == nullptr) {
    return DamagedSound(kName, "its format cannot be read");
  }
  const absl::Status kept = KeepSoundFormat(info->rate, info->channels, limits_,
                                            &resampler_, &sound_);
  if (!kept.ok()) return kept;
  block_.resize(static_cast<size_t>(kBlockFrames) * sound_.channels);
  return absl::OkStatus();
}

absl::Status VorbisDecoder::Take(float** channels, int64_t frames) {
  for (int channel = 0; channel < sound_.channels; ++channel) {
    for (int64_t i = 0; i < frames; ++i) {
      block_[i * sound_.channels + channel] = channels[channel][i];
    }
  }
  return resampler_->Push(block_.data(), frames, &sound_.samples);
}

absl::StatusOr<Sound> VorbisDecoder::Decode(absl::string_view bytes) {
  sound_.format = kName;
  open_ = ov_open_callbacks(&bytes, &file_, nullptr, 0,
                            {ReadSome, nullptr, nullptr, nullptr}) == 0;
  if (!open_) return DamagedSound(kName, "its header cannot be read");
  if (auto s = TakeFormat(); !s.ok()) return s;
  int stream = 0;
  for (;;) {
    float** channels = nullptr;
    int now = stream;
    const long frames = ov_read_float(&file_, &channels, kBlockFrames, &now);
    if (frames == 0) break;
    if (frames < 0) {
      return DamagedSound(kName, absl::StrCat("after ", resampler_->frames(),
                                              " samples something is missing "
                                              "or wrong"));
    }
    if (std::exchange(stream, now) != now) {
      if (auto s = TakeFormat(); !s.ok()) return s;
    }
    if (auto s = Take(channels, frames); !s.ok()) return s;
  }
  if (resampler_->frames() == 0) {
    return DamagedSound(kName, "it has no samples");
  }
  if (auto s = resampler_->Finish(&sound_.samples); !s.ok()) return s;
  return std::move(sound_);
}

}  // namespace

bool IsVorbis(absl::string_view bytes) {
  // The first page holds the first packet alone, behind its header and one
  // byte for each of its segments.
  constexpr size_t kHeader = 27;
  if (bytes.size() < kHeader) return false;
  const size_t packet = kHeader + static_cast<unsigned char>(bytes[26]);
  return bytes.size() > packet &&
         bytes.substr(packet, 7) == absl::string_view("\x01vorbis", 7);
}

absl::StatusOr<Sound> DecodeVorbis(absl::string_view bytes,
                                   const SoundLimits& limits) {
  return VorbisDecoder(limits).Decode(bytes);
}

}  // namespace lapidary
