#include "storage/sound_decoder.h"

#include <utility>

namespace lapidary {

struct PcmStream::Impl {};
PcmStream::PcmStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PcmStream::~PcmStream() = default;

absl::StatusOr<Sound> DecodeSound(absl::string_view /*bytes*/,
                                  const SoundLimits& /*limits*/) {
  return absl::UnimplementedError("sounds are not decoded yet");
}
absl::StatusOr<Sound> DecodePcm(absl::string_view /*bytes*/,
                                const PcmFormat& /*format*/,
                                const SoundLimits& /*limits*/) {
  return absl::UnimplementedError("sounds are not decoded yet");
}
absl::StatusOr<std::unique_ptr<PcmStream>> PcmStream::Open(
    const PcmFormat& /*format*/, const SoundLimits& /*limits*/) {
  return absl::UnimplementedError("sounds are not decoded yet");
}
absl::Status PcmStream::Push(absl::string_view /*bytes*/,
                             std::vector<float>* /*samples*/) {
  return absl::UnimplementedError("sounds are not decoded yet");
}
absl::Status PcmStream::Finish(std::vector<float>* /*samples*/) {
  return absl::UnimplementedError("sounds are not decoded yet");
}
int64_t PcmStream::frames() const { return 0; }

}  // namespace lapidary
