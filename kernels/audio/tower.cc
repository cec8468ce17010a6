#include "kernels/audio/tower.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/audio/conformer.h"
#include "kernels/audio/mel.h"
#include "kernels/audio/phase.h"
#include "kernels/audio/subsampling.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/parallel.h"
#include "kernels/simd/channel_ops.h"

namespace lapidary::kernels::audio {
namespace {

// Of a batch: all of a published clip.
constexpr int64_t kMostFrames = 768;

constexpr float kLargestSample = 1e6f;

}  // namespace

struct AudioTower::Impl {
  explicit Impl(const AudioConfig& config, AudioTowerOptions o)
      : options(std::move(o)), mel(config.mel) {}

  AudioTowerOptions options;
  MelFrontEnd mel;
  std::vector<std::unique_ptr<Lane>> lanes;  // [compute threads]
};

AudioTower::AudioTower(std::shared_ptr<const AudioWeights> weights,
                       AudioTowerOptions options)
    : weights_(std::move(weights)),
      impl_(std::make_unique<Impl>(weights_->config, std::move(options))) {}
AudioTower::~AudioTower() = default;

size_t AudioTower::ScratchBytes() const {
  size_t bytes = 0;
  for (const auto& lane : impl_->lanes) bytes += lane->bytes();
  return bytes;
}

struct AudioState::Impl {
  explicit Impl(AudioTower* t)
      : tower(t),
        front(t->weights_.get(), &t->impl_->mel),
        past(*t->weights_) {}

  // Conformer frames that the samples so far allow and that are not encoded.
  int64_t waiting_frames() const;
  // Those of them whose rows are there.
  int64_t waiting_rows() { return front.rows().end() - past.frames(); }
  // Up to so many of the conformer's next frames; none where none are there.
  ConformerInput Next(int64_t most);

  AudioTower* tower;
  Subsampling front;
  ConformerPast past;
  std::vector<float> tokens;
  bool in_batch = false;  // or lost with one
};

int64_t AudioState::Impl::waiting_frames() const {
  int64_t end = front.FramesAllowed();
  if (front.finished() && end > 0) {
    // Frames behind the last one that becomes a token change nothing.
    const int64_t factor = tower->config().conf_reduction_factor;
    end = (end - 1) / factor * factor + 1;
  }
  return std::max<int64_t>(0, end - past.frames());
}

ConformerInput AudioState::Impl::Next(int64_t most) {
  const int64_t count = std::min({most, waiting_rows(), waiting_frames()});
  if (count <= 0) return {};
  return {&past, front.rows().row(past.frames()), count, &tokens};
}

struct AudioBatch::Impl {
  Impl(AudioTower* t, const std::vector<AudioState*>& states)
      : tower(t), conformer(t->weights_.get()) {
    for (AudioState* state : states) clips.push_back(state->impl_);
  }

  // Plans what comes next; false where nothing does.
  bool Plan();
  bool PlanConformer();
  // Runs items of the current phase for about so many multiply-adds; returns
  // what they were.
  int64_t RunSome(int64_t macs);
  // Of what goes through the conformer together. Clips that have nothing left
  // take no part of it from those that have.
  int64_t MostFramesOfClip() const {
    const int64_t sharing = std::count_if(
        clips.begin(), clips.end(),
        [](const auto& clip) { return clip->waiting_frames() > 0; });
    return std::max<int64_t>(1, kMostFrames / std::max<int64_t>(1, sharing));
  }

  AudioTower* tower;
  std::vector<std::shared_ptr<AudioState::Impl>> clips;
  ConformerBatch conformer;
  std::vector<Phase> plan;
  // Where the plan is.
  size_t phase = 0;
  int64_t item = 0;
};

bool AudioBatch::Impl::Plan() {
  plan.clear();
  phase = 0;
  item = 0;
  conformer.End();
  // Nobody asks any more for what a clip is that was destroyed.
  clips.erase(
      std::remove_if(clips.begin(), clips.end(),
                     [](const auto& clip) { return clip.use_count() == 1; }),
      clips.end());
  const auto& on_part = tower->impl_->options.on_part;
  const int64_t most = MostFramesOfClip();
  for (const auto& clip : clips) {
    clip->front.rows().DropBefore(clip->past.frames());
    if (clip->waiting_rows() < most) {
      clip->front.PlanBatch(on_part, &plan);
    }
  }
  return !plan.empty() || PlanConformer();
}

bool AudioBatch::Impl::PlanConformer() {
  std::vector<ConformerInput> inputs;
  const int64_t most = MostFramesOfClip();
  for (const auto& clip : clips) {
    const ConformerInput next = clip->Next(most);
    if (next.count > 0) inputs.push_back(next);
  }
  if (inputs.empty()) return false;
  if (!conformer.Plan(inputs, tower->impl_->options.on_part, &plan)) {
    throw std::bad_alloc();
  }
  return true;
}

int64_t AudioBatch::Impl::RunSome(int64_t macs) {
  const Phase& now = plan[phase];
  if (item == 0 && now.begin) now.begin();
  int64_t done = 0;
  if (now.items > 0) {
    auto& lanes = tower->impl_->lanes;
    const int64_t threads = ComputeThreads();
    while (static_cast<int64_t>(lanes.size()) < threads) {
      lanes.push_back(std::make_unique<Lane>());
    }
    const int64_t each = std::max<int64_t>(1, now.macs / now.items);
    const int64_t wanted =
        std::max<int64_t>(macs / each / threads, 1) * threads;
    const int64_t first = item;
    const int64_t count = std::min(wanted, now.items - first);
    ParallelStripes(count, [&](int thread, int64_t i) {
      now.run(first + i, lanes[thread].get());
    });
    item += count;
    done = count * each;
  }
  if (item == now.items) {
    if (now.end) now.end();
    ++phase;
    item = 0;
  }
  return done;
}

AudioBatch::AudioBatch(AudioTower* tower, const std::vector<AudioState*>& clips)
    : impl_(std::make_unique<Impl>(tower, clips)) {
  for (const auto& clip : impl_->clips) clip->in_batch = true;
}

AudioBatch::~AudioBatch() {
  const bool ended = impl_->phase == impl_->plan.size();
  for (const auto& clip : impl_->clips) clip->in_batch = !ended;
}

bool AudioBatch::Step() {
  int64_t left = impl_->tower->impl_->options.step_macs;
  while (left > 0) {
    if (impl_->phase == impl_->plan.size() && !impl_->Plan()) return false;
    left -= impl_->RunSome(left);
  }
  return true;
}

size_t AudioBatch::bytes() const { return impl_->conformer.bytes(); }

AudioState::AudioState(AudioTower* tower)
    : impl_(std::make_shared<Impl>(tower)) {}
AudioState::~AudioState() = default;
AudioState::AudioState(AudioState&&) noexcept = default;
AudioState& AudioState::operator=(AudioState&&) noexcept = default;

AudioState::AudioState(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<AudioState> AudioState::Fork() const {
  // A batch under way has pointers into its clips.
  if (impl_->in_batch) {
    return absl::FailedPreconditionError(
        "a sound cannot be forked in the middle of a batch");
  }
  return AudioState(std::make_shared<Impl>(*impl_));
}

absl::Status AudioState::Push(const float* samples, int64_t count) {
  Subsampling& front = impl_->front;
  if (front.finished()) {
    return absl::FailedPreconditionError(
        "samples after the end of the sound; begin another one");
  }
  const MelConfig& mel = impl_->tower->config().mel;
  if (count > mel.max_samples - front.samples()) {
    return absl::OutOfRangeError(absl::StrCat(
        "a sound of more than ", mel.max_samples, " samples (",
        static_cast<double>(mel.max_samples) /
            static_cast<double>(mel.sampling_rate),
        " s): the model hears no more at once; cut it into several"));
  }
  const auto* bad = std::find_if(samples, samples + count, [](float sample) {
    return !(std::fabs(sample) <= kLargestSample);
  });
  if (bad != samples + count) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sample ", front.samples() + (bad - samples), " of the sound is ", *bad,
        ": want numbers whose full scale is 1"));
  }
  front.Push(samples, count);
  return absl::OkStatus();
}

void AudioState::Finish() {
  if (!impl_->front.finished()) impl_->front.Finish();
}

bool AudioState::Step() {
  if (alone_ == nullptr) {
    alone_ = std::make_unique<AudioBatch>(impl_->tower,
                                          std::vector<AudioState*>{this});
  }
  if (alone_->Step()) return true;
  alone_.reset();
  return false;
}

int64_t AudioState::samples() const { return impl_->front.samples(); }
bool AudioState::finished() const { return impl_->front.finished(); }

bool AudioState::done() const {
  return finished() && tokens() == impl_->tower->config().SoftTokens(samples());
}

int64_t AudioState::tokens() const {
  return static_cast<int64_t>(impl_->tokens.size()) /
         impl_->tower->config().text_hidden_size;
}

int64_t AudioState::waiting_frames() const { return impl_->waiting_frames(); }

ConstMatrixView AudioState::soft_tokens() const {
  return {impl_->tokens.data(), tokens(),
          impl_->tower->config().text_hidden_size};
}

size_t AudioState::bytes() const {
  return impl_->front.bytes() + impl_->past.bytes() +
         impl_->tokens.capacity() * sizeof(float) +
         (alone_ == nullptr ? 0 : alone_->bytes());
}

void EmbedHardToken(const AudioWeights& weights, int64_t row, float* out) {
  const int64_t hidden = weights.config.hidden_size;
  const float eps = weights.config.rms_norm_eps;
  const WeightMatrix& projection = weights.embedding_projection;
  std::vector<float> x(hidden);
  NormRows(weights.hard_embedding + row * hidden, 1, hidden,
           {weights.hard_embedding_norm, eps, Activation::kNone}, DType::kF32,
           x.data());
  GemmContext context;
  MatMul(projection, {x.data(), 1, hidden}, {out, 1, projection.n()}, &context);
  NormRows(out, 1, weights.config.text_hidden_size,
           {nullptr, eps, Activation::kNone}, DType::kF32, out);
}

}  // namespace lapidary::kernels::audio
