#include "kernels/audio/tower.h"

#include <utility>

namespace lapidary::kernels::audio {

struct AudioTower::Impl {};

AudioTower::AudioTower(std::shared_ptr<const AudioWeights> weights,
                       AudioTowerOptions /*options*/)
    : weights_(std::move(weights)), impl_(std::make_unique<Impl>()) {}
AudioTower::~AudioTower() = default;
size_t AudioTower::ScratchBytes() const { return 0; }

struct AudioState::Impl {
  int64_t width = 0;
};

AudioState::AudioState(AudioTower* tower)
    : impl_(std::make_unique<Impl>(Impl{tower->config().text_hidden_size})) {}
AudioState::~AudioState() = default;
AudioState::AudioState(AudioState&&) noexcept = default;
AudioState& AudioState::operator=(AudioState&&) noexcept = default;

absl::Status AudioState::Push(const float* /*samples*/, int64_t /*count*/) {
  return absl::UnimplementedError("sounds are not encoded yet");
}
void AudioState::Finish() {}
bool AudioState::Step() { return false; }
int64_t AudioState::samples() const { return 0; }
bool AudioState::finished() const { return false; }
bool AudioState::done() const { return false; }
int64_t AudioState::tokens() const { return 0; }
ConstMatrixView AudioState::soft_tokens() const {
  return {nullptr, 0, impl_->width};
}
size_t AudioState::bytes() const { return 0; }

void EmbedHardToken(const AudioWeights& /*weights*/, int64_t /*row*/,
                    float* /*out*/) {}

}  // namespace lapidary::kernels::audio
