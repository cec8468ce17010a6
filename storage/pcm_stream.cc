#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/sound_decoder.h"
#include "storage/sound_resampler.h"

namespace lapidary {
namespace {

// Frames that are converted at once.
constexpr size_t kBlock = 4096;

uint32_t Unsigned(const char* bytes, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value |= uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return value;
}

float ReadSample(const char* bytes, PcmFormat::Encoding encoding) {
  if (encoding == PcmFormat::Encoding::kS16) {
    const auto bits = static_cast<uint16_t>(Unsigned(bytes, 2));
    return static_cast<float>(static_cast<int16_t>(bits)) / 32768.0f;
  }
  const uint32_t bits = Unsigned(bytes, 4);
  float sample;
  std::memcpy(&sample, &bits, sizeof(sample));
  return sample;
}

}  // namespace

struct PcmStream::Impl {
  PcmFormat format;
  std::unique_ptr<SoundResampler> resampler;
  std::string rest;  // of a frame whose end has not come
  std::vector<float> block;

  // Whole frames.
  absl::Status Convert(absl::string_view bytes, std::vector<float>* samples);
};

absl::Status PcmStream::Impl::Convert(absl::string_view bytes,
                                      std::vector<float>* samples) {
  const size_t width = format.encoding == PcmFormat::Encoding::kS16 ? 2 : 4;
  const size_t step = kBlock * format.frame_bytes();
  for (size_t at = 0; at < bytes.size(); at += step) {
    const absl::string_view some = bytes.substr(at, step);
    block.resize(some.size() / width);
    for (size_t i = 0; i < block.size(); ++i) {
      block[i] = ReadSample(some.data() + i * width, format.encoding);
    }
    const auto frames =
        static_cast<int64_t>(some.size() / format.frame_bytes());
    if (auto s = resampler->Push(block.data(), frames, samples); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

PcmStream::PcmStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PcmStream::~PcmStream() = default;

absl::StatusOr<std::unique_ptr<PcmStream>> PcmStream::Open(
    const PcmFormat& format, const SoundLimits& limits) {
  auto resampler =
      SoundResampler::Make(kPcmName, format.rate, format.channels, limits);
  if (!resampler.ok()) return resampler.status();
  auto impl = std::make_unique<Impl>();
  impl->format = format;
  impl->resampler = *std::move(resampler);
  return std::unique_ptr<PcmStream>(new PcmStream(std::move(impl)));
}

absl::Status PcmStream::Push(absl::string_view bytes,
                             std::vector<float>* samples) {
  const size_t frame = impl_->format.frame_bytes();
  if (!impl_->rest.empty()) {
    const size_t missing = std::min(frame - impl_->rest.size(), bytes.size());
    impl_->rest.append(bytes.data(), missing);
    bytes.remove_prefix(missing);
    if (impl_->rest.size() < frame) return absl::OkStatus();
    const std::string whole = std::exchange(impl_->rest, "");
    if (auto s = impl_->Convert(whole, samples); !s.ok()) return s;
  }
  const size_t whole = bytes.size() / frame * frame;
  impl_->rest = std::string(bytes.substr(whole));
  return impl_->Convert(bytes.substr(0, whole), samples);
}

absl::Status PcmStream::Finish(std::vector<float>* samples) {
  if (!impl_->rest.empty()) {
    return DamagedSound(
        kPcmName, absl::StrCat(impl_->rest.size(), " bytes are left over: a ",
                               "frame of ", impl_->format.channels,
                               " channels has ", impl_->format.frame_bytes()));
  }
  return impl_->resampler->Finish(samples);
}

int64_t PcmStream::frames() const { return impl_->resampler->frames(); }

}  // namespace lapidary
