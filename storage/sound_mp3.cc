#include "storage/sound_mp3.h"

#include <mpg123.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/sound_resampler.h"

namespace lapidary {
namespace {

constexpr char kName[] = "MP3";
// Bytes of the file that are handed over at once.
constexpr size_t kPiece = 16 << 10;
// Values that are taken at once: several frames of two channels.
constexpr size_t kBlockValues = 16 << 10;

struct Closer {
  void operator()(mpg123_handle* handle) const { mpg123_delete(handle); }
};

class Mp3Decoder {
 public:
  explicit Mp3Decoder(const SoundLimits& limits) : limits_(limits) {}

  absl::StatusOr<Sound> Decode(absl::string_view bytes);

 private:
  absl::Status Open();
  // Takes what can be decoded when `piece` follows on what came before.
  absl::Status Feed(absl::string_view piece);
  absl::Status TakeFormat();

  const SoundLimits& limits_;
  std::unique_ptr<mpg123_handle, Closer> handle_;
  std::unique_ptr<SoundResampler> resampler_;  // when the format is known
  std::vector<float> block_;
  Sound sound_;
};

absl::Status Mp3Decoder::Open() {
  mpg123_init();
  int error = MPG123_OK;
  handle_.reset(mpg123_new(nullptr, &error));
  const long flags = MPG123_QUIET | MPG123_FORCE_FLOAT;
  if (handle_ == nullptr ||
      mpg123_param(handle_.get(), MPG123_ADD_FLAGS, flags, 0) != MPG123_OK ||
      mpg123_open_feed(handle_.get()) != MPG123_OK) {
    return absl::ResourceExhaustedError("MP3 sound: no decoder can be made");
  }
  return absl::OkStatus();
}

absl::Status Mp3Decoder::TakeFormat() {
  long rate = 0;
  int channels = 0, encoding = 0;
  if (mpg123_getformat(handle_.get(), &rate, &channels, &encoding) !=
          MPG123_OK ||
      encoding != MPG123_ENC_FLOAT_32) {
    return DamagedSound(kName, "its format cannot be read");
  }
  return KeepSoundFormat(rate, channels, limits_, &resampler_, &sound_);
}

absl::Status Mp3Decoder::Feed(absl::string_view piece) {
  const auto* in = reinterpret_cast<const unsigned char*>(piece.data());
  size_t left = piece.size();
  for (;;) {
    size_t made = 0;
    const int result =
        mpg123_decode(handle_.get(), in, left,
                      reinterpret_cast<unsigned char*>(block_.data()),
                      block_.size() * sizeof(float), &made);
    left = 0;  // taken whole, at the first call
    if (result == MPG123_NEW_FORMAT) {
      if (auto s = TakeFormat(); !s.ok()) return s;
    } else if (result == MPG123_ERR) {
      return DamagedSound(kName, mpg123_strerror(handle_.get()));
    }
    if (made > 0 && resampler_ != nullptr) {
      const auto frames =
          static_cast<int64_t>(made / sizeof(float)) / sound_.channels;
      if (auto s = resampler_->Push(block_.data(), frames, &sound_.samples);
          !s.ok()) {
        return s;
      }
    }
    if (result == MPG123_NEED_MORE || result == MPG123_DONE ||
        (result == MPG123_OK && made == 0)) {
      return absl::OkStatus();
    }
  }
}

absl::StatusOr<Sound> Mp3Decoder::Decode(absl::string_view bytes) {
  if (auto s = Open(); !s.ok()) return s;
  block_.resize(kBlockValues);
  sound_.format = kName;
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    if (auto s = Feed(bytes.substr(at, kPiece)); !s.ok()) return s;
  }
  if (resampler_ == nullptr || resampler_->frames() == 0) {
    return DamagedSound(kName, "it has no samples");
  }
  if (auto s = resampler_->Finish(&sound_.samples); !s.ok()) return s;
  return std::move(sound_);
}

}  // namespace

absl::StatusOr<Sound> DecodeMp3(absl::string_view bytes,
                                const SoundLimits& limits) {
  return Mp3Decoder(limits).Decode(bytes);
}

}  // namespace lapidary
