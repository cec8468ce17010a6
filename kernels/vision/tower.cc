#include "kernels/vision/tower.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/parallel.h"
#include "kernels/simd/channel_ops.h"
#include "kernels/vision/attention_block.h"
#include "kernels/vision/conv_blocks.h"
#include "kernels/vision/fusion.h"
#include "kernels/vision/phase.h"

namespace lapidary::kernels::vision {
namespace {

// More pixels than any published model takes.
constexpr int64_t kMaxSide = 4096;

constexpr size_t kAlignment = 64;

}  // namespace

// The phases for images of one size, and their memory.
struct VisionTower::Plan {
  int64_t height = 0, width = 0;
  Buffer image;  // the caller's
  Buffer maps[2];
  Buffer ring;
  AttentionBuffers attention;
  std::vector<std::unique_ptr<Buffer>> kept;  // for the MSFA
  Buffer feature_buffer, token_buffer;
  Map features, tokens;
  std::vector<Phase> phases;
  std::shared_ptr<AlignedBuffer> memory;
  std::vector<std::unique_ptr<Lane>> lanes;
  // Where the forward pass is.
  size_t phase = 0;
  int64_t item = 0;

  // The name and result of the block that ends with the last phase so far.
  void Done(std::string block, const Map& result) {
    phases.back().block_done = std::move(block);
    phases.back().result = result;
  }

  std::vector<Buffer*> Buffers() {
    std::vector<Buffer*> all = {
        &maps[0],        &maps[1],          &ring,           &attention.normed,
        &attention.keys, &attention.values, &feature_buffer, &token_buffer};
    for (const auto& buffer : kept) all.push_back(buffer.get());
    return all;
  }

  bool Allocate() {
    size_t total = 0;
    for (Buffer* buffer : Buffers()) {
      total += (buffer->bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    memory = AlignedBuffer::Make(total);
    if (memory == nullptr) return false;
    std::byte* at = memory->data();
    for (Buffer* buffer : Buffers()) {
      buffer->data = at;
      at += (buffer->bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    return true;
  }

  void Build(const VisionWeights& w);
  Map AppendBlock(const VisionConfig& config, const BlockWeights& w,
                  const Map& in, Buffer* target);
};

// Writes to `target`, or in place where it is null and the block allows it, or
// else to the map buffer that `in` is not in.
Map VisionTower::Plan::AppendBlock(const VisionConfig& config,
                                   const BlockWeights& w, const Map& in,
                                   Buffer* target) {
  const BlockConfig& b = w.config;
  if (target == nullptr) {
    const bool in_place = IsPointwise(b) && b.in == b.out &&
                          (in.buffer == &maps[0] || in.buffer == &maps[1]);
    target = in_place ? in.buffer : &maps[in.buffer == &maps[0] ? 1 : 0];
  }
  const Window window = BlockWindow(config, b);
  const Map out = MakeMap(target, window.Outputs(in.height),
                          window.Outputs(in.width), b.out);
  switch (b.type) {
    case BlockType::kEdgeResidual:
      AppendEdgeResidual(config, w, in, out, &phases);
      break;
    case BlockType::kInvertedResidual:
      AppendInvertedResidual(config, w, in, out, &ring, &phases);
      break;
    case BlockType::kAttention:
      AppendAttention(config, w, in, out, &attention, &phases);
      break;
  }
  Done(w.name, out);
  return out;
}

void VisionTower::Plan::Build(const VisionWeights& w) {
  const VisionConfig& config = w.config;
  std::vector<Map> fused;
  // The buffer of a feature that has to last until the MSFA.
  const auto keep = [&](int64_t feature) -> Buffer* {
    const auto& wanted = config.msfa_features;
    if (std::find(wanted.begin(), wanted.end(), feature) == wanted.end()) {
      return nullptr;
    }
    kept.push_back(std::make_unique<Buffer>());
    return kept.back().get();
  };

  const Window stem = {3, 2, config.padding};
  Buffer* target = keep(0);
  Map x = MakeMap(target == nullptr ? &maps[0] : target, stem.Outputs(height),
                  stem.Outputs(width), config.stem_size);
  AppendStem(w, {&image, height, width, 3}, x, &phases);
  Done("conv_stem", x);
  if (target != nullptr) fused.push_back(x);
  for (size_t stage = 0; stage < w.stages.size(); ++stage) {
    const auto& blocks = w.stages[stage];
    for (size_t block = 0; block < blocks.size(); ++block) {
      target = block + 1 == blocks.size()
                   ? keep(static_cast<int64_t>(stage) + 1)
                   : nullptr;
      x = AppendBlock(config, blocks[block], x, target);
      if (target != nullptr) fused.push_back(x);
    }
  }

  const Map& first = fused.front();
  const Map mixed =
      MakeMap(&maps[0], first.height, first.width, config.hidden_size);
  AppendFusion(w, fused, mixed, &phases);
  Done("msfa.ffn", mixed);
  const int64_t side = config.msfa_output_resolution;
  features = MakeMap(&feature_buffer, side, side, config.hidden_size);
  AppendPooling(w, mixed, features, &phases);
  Done("msfa", features);
  tokens = MakeMap(&token_buffer, side, side, config.text_hidden_size);
  AppendEmbedder(w, features, tokens, &phases);
  Done("embed_vision", tokens);
}

VisionTower::VisionTower(std::shared_ptr<const VisionWeights> weights,
                         VisionTowerOptions options)
    : weights_(std::move(weights)), options_(std::move(options)) {}
VisionTower::~VisionTower() = default;

absl::Status VisionTower::Start(int64_t height, int64_t width,
                                const float* image) {
  if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat("an image of ", width, " x ", height,
                     " pixels: the tower takes sides from 1 to ", kMaxSide));
  }
  if (plan_ == nullptr || plan_->height != height || plan_->width != width) {
    auto plan = std::make_unique<Plan>();
    plan->height = height;
    plan->width = width;
    plan->Build(*weights_);
    plan_ = nullptr;  // before its successor takes memory
    if (!plan->Allocate()) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no memory to encode an image of ", width, " x ", height, " pixels"));
    }
    plan_ = std::move(plan);
  }
  plan_->image.data = reinterpret_cast<std::byte*>(const_cast<float*>(image));
  plan_->phase = 0;
  plan_->item = 0;
  return absl::OkStatus();
}

bool VisionTower::Step() {
  Plan& plan = *plan_;
  if (plan.phase == plan.phases.size()) return false;
  const int64_t threads = ComputeThreads();
  while (static_cast<int64_t>(plan.lanes.size()) < threads) {
    plan.lanes.push_back(std::make_unique<Lane>());
  }
  const Phase& phase = plan.phases[plan.phase];
  const int64_t each = std::max<int64_t>(1, phase.macs / phase.items);
  const int64_t wanted =
      std::max(options_.step_macs / each / threads, int64_t{1}) * threads;
  const int64_t first = plan.item;
  const int64_t count = std::min(wanted, phase.items - first);
  ParallelTasks(count, [&](int thread, int64_t i) {
    phase.run(first + i, plan.lanes[thread].get());
  });
  plan.item += count;
  if (plan.item == phase.items) {
    if (options_.on_block && !phase.block_done.empty()) {
      options_.on_block(phase.block_done, phase.result.view());
    }
    ++plan.phase;
    plan.item = 0;
  }
  return plan.phase < plan.phases.size();
}

absl::Status VisionTower::Encode(int64_t height, int64_t width,
                                 const float* image) {
  if (auto s = Start(height, width, image); !s.ok()) return s;
  while (Step()) {
  }
  return absl::OkStatus();
}

ConstMatrixView VisionTower::features() const {
  const Map& map = plan_->features;
  return {map.data(), map.pixels(), map.channels};
}

ConstMatrixView VisionTower::soft_tokens() const {
  const Map& map = plan_->tokens;
  return {map.data(), map.pixels(), map.channels};
}

size_t VisionTower::ActivationBytes() const {
  if (plan_ == nullptr) return 0;
  size_t bytes = plan_->memory->size();
  for (const auto& lane : plan_->lanes) bytes += lane->bytes();
  return bytes;
}

void EmbedHardToken(const VisionWeights& weights, int64_t row, float* out) {
  const int64_t hidden = weights.config.hidden_size;
  const float eps = weights.config.rms_norm_eps;
  Lane lane;
  const WeightMatrix& projection = weights.embedding_projection;
  float* x = lane.inputs.Room<float>(hidden);
  NormRows(weights.hard_embedding + row * hidden, 1, hidden,
           {weights.hard_embedding_norm, eps, Activation::kNone},
           SourceType(FormOf(projection)), x);
  lane.products.Multiply(projection, 1, x, out);
  NormRows(out, 1, weights.config.text_hidden_size,
           {nullptr, eps, Activation::kNone}, DType::kF32, out);
}

}  // namespace lapidary::kernels::vision
