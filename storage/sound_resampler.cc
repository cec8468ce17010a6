#include "storage/sound_resampler.h"

#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

// Frames that are resampled at once.
constexpr int64_t kBlock = 4096;

struct SoxrDeleter {
  void operator()(soxr_t s) const { soxr_delete(s); }
};

}  // namespace

absl::Status CheckSoundShape(absl::string_view format, int64_t rate,
                             int64_t channels, const SoundLimits& limits) {
  if (rate < limits.min_rate || rate > limits.max_rate) {
    return absl::InvalidArgumentError(
        absl::StrCat(format, " sound: it has ", rate, " samples a second, ",
                     limits.min_rate, " to ", limits.max_rate,
                     " are taken; resample it, the model hears 16000"));
  }
  if (channels < 1 || channels > limits.max_channels) {
    return absl::InvalidArgumentError(
        absl::StrCat(format, " sound: it has ", channels, " channels, 1 to ",
                     limits.max_channels, " are taken; mix it down"));
  }
  return absl::OkStatus();
}

absl::Status CheckSoundLength(absl::string_view format, int64_t frames,
                              int64_t rate, const SoundLimits& limits) {
  const double seconds =
      static_cast<double>(frames) / static_cast<double>(rate);
  if (seconds <= limits.max_seconds) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      format, " sound: it lasts ", seconds, " s or longer, the limit is ",
      limits.max_seconds, " s; cut it into several"));
}

absl::Status DamagedSound(absl::string_view format, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(format, " sound: ", what,
                   format == kPcmName
                       ? "; are the stream's samples of the encoding, rate and "
                         "channels that it was said to have?"
                       : "; the file is truncated, damaged or of a kind that "
                         "is not supported: save it anew and send all of it"));
}

struct SoundResampler::Impl {
  std::string format;
  int64_t rate = 0, channels = 0;
  SoundLimits limits;
  std::unique_ptr<struct soxr, SoxrDeleter>
      converter;  // null: the rate is right
  int64_t frames = 0, samples = 0;
  std::vector<float> mono, resampled;

  // Averages the channels into `mono`.
  absl::Status MixDown(const float* interleaved, int64_t count);
  // Resamples `mono`, or what is left where there is no more.
  absl::Status Resample(bool last, std::vector<float>* out);
  void Append(const float* from, int64_t count, std::vector<float>* out) {
    out->insert(out->end(), from, from + count);
    samples += count;
  }
};

absl::Status SoundResampler::Impl::MixDown(const float* interleaved,
                                           int64_t count) {
  mono.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const float sample = interleaved[i * channels + c];
      if (!(std::fabs(sample) <= kMaxSample)) {
        return DamagedSound(
            format, absl::StrCat("sample ", frames + i, " of channel ", c,
                                 " is ", sample, ", which no sound has"));
      }
      sum += sample;
    }
    mono[i] = sum / static_cast<float>(channels);
  }
  return absl::OkStatus();
}

absl::Status SoundResampler::Impl::Resample(bool last,
                                            std::vector<float>* out) {
  if (converter == nullptr) {
    Append(mono.data(), static_cast<int64_t>(mono.size()), out);
    return absl::OkStatus();
  }
  resampled.resize(kBlock);
  size_t taken = 0;
  for (;;) {
    size_t used = 0, made = 0;
    const bool flush = last && taken == mono.size();
    const soxr_error_t error =
        soxr_process(converter.get(), flush ? nullptr : mono.data() + taken,
                     flush ? 0 : mono.size() - taken, &used, resampled.data(),
                     resampled.size(), &made);
    if (error != nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat(format, " sound: it cannot be resampled: ", error));
    }
    taken += used;
    Append(resampled.data(), static_cast<int64_t>(made), out);
    if (made < resampled.size() && taken == mono.size() && (flush || !last)) {
      return absl::OkStatus();
    }
  }
}

SoundResampler::SoundResampler(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
SoundResampler::~SoundResampler() = default;

absl::StatusOr<std::unique_ptr<SoundResampler>> SoundResampler::Make(
    absl::string_view format, int64_t rate, int64_t channels,
    const SoundLimits& limits) {
  if (auto s = CheckSoundShape(format, rate, channels, limits); !s.ok()) {
    return s;
  }
  auto impl = std::make_unique<Impl>();
  impl->format = std::string(format);
  impl->rate = rate;
  impl->channels = channels;
  impl->limits = limits;
  if (rate != kSoundRate) {
    soxr_error_t error = nullptr;
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    impl->converter.reset(soxr_create(static_cast<double>(rate), kSoundRate, 1,
                                      &error, &io, &quality, &runtime));
    if (error != nullptr || impl->converter == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat(format, " sound: no resampler from ", rate, " to ",
                       kSoundRate, " samples a second"));
    }
  }
  return std::unique_ptr<SoundResampler>(new SoundResampler(std::move(impl)));
}

absl::Status SoundResampler::Push(const float* frames, int64_t count,
                                  std::vector<float>* samples) {
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t some = std::min(kBlock, count - first);
    if (auto s = CheckSoundLength(impl_->format, impl_->frames + some,
                                  impl_->rate, impl_->limits);
        !s.ok()) {
      return s;
    }
    if (auto s = impl_->MixDown(frames + first * impl_->channels, some);
        !s.ok()) {
      return s;
    }
    impl_->frames += some;
    if (auto s = impl_->Resample(false, samples); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status SoundResampler::Finish(std::vector<float>* samples) {
  if (impl_->converter == nullptr) return absl::OkStatus();
  impl_->mono.clear();
  if (auto s = impl_->Resample(true, samples); !s.ok()) return s;
  // The resampler rounds in its own way.
  const int64_t wanted =
      (impl_->frames * kSoundRate + impl_->rate - 1) / impl_->rate;
  const int64_t size = static_cast<int64_t>(samples->size());
  samples->resize(std::max<int64_t>(0, size + wanted - impl_->samples), 0.0f);
  return absl::OkStatus();
}

int64_t SoundResampler::frames() const { return impl_->frames; }

absl::Status KeepSoundFormat(int64_t rate, int64_t channels,
                             const SoundLimits& limits,
                             std::unique_ptr<SoundResampler>* resampler,
                             Sound* sound) {
  if (*resampler != nullptr) {
    if (rate == sound->rate && channels == sound->channels) {
      return absl::OkStatus();
    }
    return DamagedSound(
        sound->format,
        absl::StrCat("after ", (*resampler)->frames(),
                     " samples it goes on with another rate or number "
                     "of channels"));
  }
  auto made = SoundResampler::Make(sound->format, rate, channels, limits);
  if (!made.ok()) return made.status();
  *resampler = *std::move(made);
  sound->rate = static_cast<int>(rate);
  sound->channels = static_cast<int>(channels);
  return absl::OkStatus();
}

}  // namespace lapidary
