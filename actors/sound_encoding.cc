#include "actors/sound_encoding.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lapidary {

absl::StatusOr<SoundWindow> SoundWindowOf(const ModelConfig& config) {
  if (!config.audio.ok()) return config.audio.status();
  const kernels::audio::AudioConfig& audio = *config.audio;
  SoundWindow window;
  window.soft_tokens = config.audio_soft_tokens_per_image;
  window.samples = LongestWindow(audio, window.soft_tokens);
  if (config.tower_ends_sound()) {
    window.end_row = config.eoa_token_id.value_or(0) - audio.vocab_offset;
    if (window.end_row < 0 || window.end_row >= audio.vocab_size) {
      return absl::FailedPreconditionError(absl::StrCat(
          "config.json: the audio tower embeds tokens [", audio.vocab_offset,
          ", ", audio.vocab_offset + audio.vocab_size, "), eoa_token_id is ",
          config.eoa_token_id.value_or(0)));
    }
  }
  return window;
}

SoundEncoding::SoundEncoding(kernels::audio::AudioTower* tower,
                             const SoundWindow& window)
    : tower_(tower), window_(window), state_(tower), moment_(window.samples) {}

void SoundEncoding::Push(absl::Span<const float> samples) {
  if (taken_ > 0) {
    pending_.erase(pending_.begin(),
                   pending_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
  }
  pending_.insert(pending_.end(), samples.begin(), samples.end());
  samples_ += static_cast<int64_t>(samples.size());
}

void SoundEncoding::PushAll(std::vector<float> samples) {
  samples_ += static_cast<int64_t>(samples.size());
  pending_ = std::move(samples);
  taken_ = 0;
  Finish();
}

void SoundEncoding::Finish() { finished_ = true; }

int64_t SoundEncoding::waiting_samples() const {
  // A conformer frame is four hops.
  const int64_t hop = tower_->config().mel.hop_length;
  return waiting() + state_.waiting_frames() * 4 * hop;
}

int64_t SoundEncoding::tokens() const {
  // When it is done, the last window's are among tokens_.
  return tokens_ + (done_ ? 0 : state_.tokens()) +
         (ending_.has_value() ? ending_->tokens() : 0);
}

size_t SoundEncoding::bytes() const {
  return (pending_.capacity() + since_fork_.capacity() + rows_.capacity()) *
             sizeof(float) +
         state_.bytes() + (fork_.has_value() ? fork_->bytes() : 0) +
         (ending_.has_value() ? ending_->bytes() : 0);
}

kernels::Tensor SoundEncoding::FirstWindowFrom(int64_t first) const {
  if (windows_ > 0 || ending_.has_value()) return {};
  const kernels::ConstMatrixView soft = state_.soft_tokens();
  const int64_t count = std::min(soft.rows, window_.soft_tokens) - first;
  if (count <= 0) return {};
  const int64_t width = tower_->config().text_hidden_size;
  const size_t bytes = count * width * sizeof(float);
  auto buffer = kernels::AlignedBuffer::Make(bytes);
  if (buffer == nullptr) return {};
  std::memcpy(buffer->data(), soft.row(first), bytes);
  return kernels::Tensor(kernels::DType::kF32, {count, width},
                         std::move(buffer));
}

bool SoundEncoding::HasWork(int64_t frames) const {
  if (done_) return false;
  if (finished_ || stepping_ != nullptr || ending_.has_value() ||
      fork_wanted_) {
    return true;
  }
  // What Feed would move is not frames yet.
  const int64_t hop = tower_->config().mel.hop_length;
  return waiting() / (4 * hop) + state_.waiting_frames() >= frames;
}

absl::Status SoundEncoding::Step() {
  if (stepping_ == nullptr) {
    absl::StatusOr<AudioState*> next = Next();
    if (!next.ok()) return next.status();
    stepping_ = *next;
  } else if (!stepping_->Step()) {
    stepping_ = nullptr;
  }
  return absl::OkStatus();
}

absl::StatusOr<kernels::audio::AudioState*> SoundEncoding::Next(int64_t most) {
  if (done_) return nullptr;
  if (ending_.has_value()) {
    Append(*ending_);
    ending_.reset();
  }
  if (fork_wanted_) {
    fork_wanted_ = false;
    absl::StatusOr<AudioState> fork = state_.Fork();
    if (!fork.ok()) return fork.status();
    fork_ = *std::move(fork);
  }
  absl::Status fed = Feed(most);
  if (!fed.ok()) return fed;
  if (ending_.has_value()) return &*ending_;
  if (EndIfEncoded()) return nullptr;
  if (finished_ && waiting() == 0) state_.Finish();
  return &state_;
}

bool SoundEncoding::EndIfEncoded() {
  const bool encoded =
      finished_ && waiting() == 0 && !ending_.has_value() && state_.done();
  if (!done_ && encoded) {
    Append(state_);
    done_ = true;
  }
  return done_;
}

absl::Status SoundEncoding::Feed(int64_t most) {
  while (waiting() > 0 && most > 0) {
    if (moment_.samples() == window_.samples) {
      EndWindow();
      return absl::OkStatus();
    }
    const bool decided =
        fork_.has_value() ||
        (finished_ && moment_.samples() + waiting() <= window_.samples);
    const int64_t stop =
        decided ? window_.samples : std::min(window_.samples, moment_.next());
    const int64_t count = std::min({waiting(), stop - moment_.samples(), most});
    absl::Status moved = Move(count);
    if (!moved.ok()) return moved;
    most -= count;
    if (decided || !moment_.IsHere()) continue;
    if (finished_) {
      if (waiting() > 0) EndWindow();
    } else {
      fork_wanted_ = true;
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status SoundEncoding::Move(int64_t count) {
  const absl::Span<const float> samples(pending_.data() + taken_, count);
  absl::Status pushed = state_.Push(samples.data(), count);
  if (!pushed.ok()) return pushed;
  moment_.Take(samples);
  if (fork_.has_value()) {
    since_fork_.insert(since_fork_.end(), samples.begin(), samples.end());
  }
  taken_ += count;
  return absl::OkStatus();
}

void SoundEncoding::EndWindow() {
  if (fork_.has_value()) {
    pending_.erase(pending_.begin(),
                   pending_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
    pending_.insert(pending_.begin(), since_fork_.begin(), since_fork_.end());
    since_fork_.clear();
    ending_ = std::move(fork_);
    fork_.reset();
  } else {
    ending_ = std::move(state_);
  }
  ending_->Finish();
  state_ = AudioState(tower_);
  moment_ = QuietMoment(window_.samples);
}

void SoundEncoding::Append(const AudioState& window) {
  const kernels::ConstMatrixView soft = window.soft_tokens();
  const int64_t width = tower_->config().text_hidden_size;
  const int64_t heard = std::min(soft.rows, window_.soft_tokens);
  const size_t at = rows_.size();
  rows_.resize(at + window_.rows() * width);
  float* out = rows_.data() + at;
  if (heard > 0) std::copy_n(soft.row(0), heard * width, out);
  const kernels::audio::AudioWeights& weights = tower_->weights();
  for (int64_t row = heard; row < window_.soft_tokens; ++row) {
    if (row == heard) {
      EmbedHardToken(weights, tower_->config().padding_row(),
                     out + row * width);
    } else {
      std::copy_n(out + heard * width, width, out + row * width);
    }
  }
  if (window_.end_row >= 0) {
    EmbedHardToken(weights, window_.end_row, out + window_.soft_tokens * width);
  }
  tokens_ += heard;
  ++windows_;
}

absl::StatusOr<kernels::Tensor> SoundEncoding::Rows() const {
  const int64_t width = tower_->config().text_hidden_size;
  auto buffer = kernels::AlignedBuffer::Make(rows_.size() * sizeof(float));
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError("no memory for a sound's soft tokens");
  }
  std::memcpy(buffer->data(), rows_.data(), rows_.size() * sizeof(float));
  return kernels::Tensor(kernels::DType::kF32,
                         {windows_ * window_.rows(), width}, std::move(buffer));
}

}  // namespace lapidary
