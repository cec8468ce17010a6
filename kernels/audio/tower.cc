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
        conformer(t->weights_.get()) {}

  // Plans what comes next; false where nothing does.
  bool Plan();
  bool PlanConformer();
  // Runs items of the current phase for about so many multiply-adds; returns
  // what they were.
  int64_t RunSome(int64_t macs);

  AudioTower* tower;
  Subsampling front;
  Conformer conformer;
  std::vector<float> tokens;
  std::vector<Phase> plan;
  // Where the plan is.
  size_t phase = 0;
  int64_t item = 0;
};

bool AudioState::Impl::Plan() {
  plan.clear();
  phase = 0;
  item = 0;
  conformer.EndBatch();
  front.rows().DropBefore(conformer.frames());
  const auto& on_part = tower->impl_->options.on_part;
  const int64_t waiting = front.rows().end() - conformer.frames();
  if (waiting < kMostFrames && front.PlanBatch(on_part, &plan)) return true;
  return PlanConformer();
}

// Frames behind the last one that becomes a token change nothing.
bool AudioState::Impl::PlanConformer() {
  const int64_t first = conformer.frames();
  int64_t end = std::min(front.rows().end(), first + kMostFrames);
  if (front.finished()) {
    const int64_t all = front.FramesAllowed();
    const int64_t factor = tower->config().conf_reduction_factor;
    const int64_t wanted = all == 0 ? 0 : (all - 1) / factor * factor + 1;
    end = std::min(end, wanted);
  }
  if (end <= first) return false;
  if (!conformer.PlanBatch(front.rows().row(first), end - first, &tokens,
                           tower->impl_->options.on_part, &plan)) {
    throw std::bad_alloc();
  }
  return true;
}

int64_t AudioState::Impl::RunSome(int64_t macs) {
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
    ParallelTasks(count, [&](int thread, int64_t i) {
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

AudioState::AudioState(AudioTower* tower)
    : impl_(std::make_unique<Impl>(tower)) {}
AudioState::~AudioState() = default;
AudioState::AudioState(AudioState&&) noexcept = default;
AudioState& AudioState::operator=(AudioState&&) noexcept = default;

AudioState::AudioState(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<AudioState> AudioState::Fork() const {
  // A batch under way has pointers into its state.
  if (impl_->phase < impl_->plan.size()) {
    return absl::FailedPreconditionError(
        "a sound cannot be forked in the middle of a batch");
  }
  auto copy = std::make_unique<Impl>(*impl_);
  copy->plan.clear();
  copy->phase = 0;
  copy->conformer.EndBatch();
  return AudioState(std::move(copy));
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
  int64_t left = impl_->tower->impl_->options.step_macs;
  while (left > 0) {
    if (impl_->phase == impl_->plan.size() && !impl_->Plan()) return false;
    left -= impl_->RunSome(left);
  }
  return true;
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

int64_t AudioState::waiting_frames() const {
  return impl_->front.FramesAllowed() - impl_->conformer.frames();
}

ConstMatrixView AudioState::soft_tokens() const {
  return {impl_->tokens.data(), tokens(),
          impl_->tower->config().text_hidden_size};
}

size_t AudioState::bytes() const {
  return impl_->front.bytes() + impl_->conformer.bytes() +
         impl_->tokens.capacity() * sizeof(float);
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
