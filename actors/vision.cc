#include "actors/vision.h"

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/compute_turn.h"
#include "kernels/parallel.h"
#include "storage/image_decoder.h"
#include "storage/image_resize.h"

namespace lapidary {
namespace {

using Self = LocalVisionActor::stateful_pointer<VisionState>;
using Clock = std::chrono::steady_clock;

// The asker names the image by its field.
absl::Status WithoutName(const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StripPrefix(status.message(), "image: "));
}

ImageReaderActor::behavior_type ImageReader(ImageReaderActor::pointer,
                                            ImageLimits limits, int height,
                                            int width) {
  return {
      [=](const ReadImage& read) -> ImagePixels {
        try {
          const absl::StatusOr<Image> image = DecodeImage(
              *read.file, limits, [&read] { return !read.waiting->any(); });
          if (!image.ok()) return {WithoutName(image.status()), nullptr};
          return {absl::OkStatus(),
                  std::make_shared<const std::vector<float>>(
                      PixelValues(ResizeImage(*image, height, width)))};
        } catch (const std::bad_alloc&) {
          return {absl::ResourceExhaustedError(
                      "no memory to decode the image; send a smaller one"),
                  nullptr};
        }
      },
  };
}

VisionStatus Describe(const VisionState& state) {
  VisionStatus status = state.status;
  state.tower.Describe(&status);
  state.jobs.Describe(&status);
  status.weight_bytes = state.config.model->vision_bytes();
  if (status.loaded) status.activation_bytes = state.tower->ActivationBytes();
  return status;
}

void Post(const VisionState& state) {
  if (state.config.board != nullptr) {
    state.config.board->Write(Describe(state));
  }
}

absl::Status Load(VisionState& state) {
  const absl::Status status =
      state.tower.Load([&state] { return state.config.model->LoadVision(); });
  Post(state);
  return status;
}

// The soft tokens of the image that the tower has done, and the token that
// ends an image where its embedding is the tower's as well.
absl::StatusOr<kernels::Tensor> Rows(const VisionState& state) {
  const kernels::ConstMatrixView soft = state.tower->soft_tokens();
  const kernels::vision::VisionConfig& c = state.tower->config();
  const ModelConfig& model = state.config.model->config();
  const bool has_end = model.tower_ends_image();
  const int64_t end = model.eoi_token_id.value_or(0) - c.vocab_offset;
  const int64_t rows = model.image_rows();
  if (soft.rows != model.vision_soft_tokens_per_image ||
      (has_end && (end < 0 || end >= c.vocab_size))) {
    return absl::FailedPreconditionError(absl::StrCat(
        "config.json: the tower makes ", soft.rows, " soft tokens and embeds ",
        "tokens [", c.vocab_offset, ", ", c.vocab_offset + c.vocab_size,
        "), the model wants ", model.vision_soft_tokens_per_image,
        " and ends images with ", model.eoi_token_id.value_or(0)));
  }
  const size_t soft_bytes = soft.rows * soft.cols * sizeof(float);
  auto buffer = kernels::AlignedBuffer::Make(rows * soft.cols * sizeof(float));
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError("no memory for an image's soft tokens");
  }
  std::memcpy(buffer->data(), soft.row(0), soft_bytes);
  if (has_end) {
    kernels::vision::EmbedHardToken(
        state.tower->weights(), end,
        reinterpret_cast<float*>(buffer->data() + soft_bytes));
  }
  return kernels::Tensor(kernels::DType::kF32, {rows, soft.cols},
                         std::move(buffer));
}

void Begin(Self self);

// Answers all who asked for the first image, and goes on to the next.
void Finish(Self self, const absl::StatusOr<kernels::Tensor>& rows) {
  VisionState& state = self->state;
  state.pixels.reset();
  EncodedMedium answer;
  answer.status = rows.status();
  if (rows.ok()) {
    answer.rows = *rows;
    ++state.status.images;
    state.status.encode_ns +=
        std::chrono::nanoseconds(Clock::now() - state.began).count();
  }
  state.jobs.Finish(&state.jobs.front(), answer);
  state.jobs.DropUnwanted(0);
  if (!state.jobs.empty()) {
    Begin(self);
  } else {
    state.tower.Rest(self);
  }
}

void TakePixels(Self self, const ImagePixels& image) {
  VisionState& state = self->state;
  absl::Status status = image.status;
  if (absl::IsCancelled(status)) {
    // Somebody may have come for it since.
    if (state.jobs.front().wanted()) return Begin(self);
    status = state.jobs.Unwanted();
  }
  if (status.ok()) status = Load(state);
  if (status.ok()) {
    state.pixels = image.pixels;
    const ModelConfig& config = state.config.model->config();
    status =
        state.tower->Start(config.vision_image_height,
                           config.vision_image_width, state.pixels->data());
    Post(state);
  }
  if (!status.ok()) {
    Finish(self, status);
    return;
  }
  self->send(self, NextSlice{});
}

// Has the first image read.
void Begin(Self self) {
  VisionState& state = self->state;
  state.began = Clock::now();
  self->request(state.reader, caf::infinite,
                ReadImage{state.jobs.front().file, state.jobs.front().waiting})
      .then([self](const ImagePixels& image) { TakePixels(self, image); },
            [self](caf::error& error) {
              Finish(self, absl::InternalError(
                               absl::StrCat("the image was not read: ",
                                            self->system().render(error))));
            });
}

// The next slice of the first image.
void Advance(Self self) {
  VisionState& state = self->state;
  if (!state.jobs.front().wanted()) {
    return Finish(self, state.jobs.Unwanted());
  }
  state.jobs.DropUnwanted(1);
  Post(state);
  bool more;
  {
    const kernels::ComputeTurn turn;
    more = state.tower->Step();
  }
  if (more) {
    self->send(self, NextSlice{});
  } else {
    Finish(self, Rows(state));
  }
}

caf::result<EncodedMedium> Take(Self self, const EncodeImage& encode) {
  VisionState& state = self->state;
  if (!encode.tower.empty() && encode.tower != state.status.tower) {
    return EncodedMedium{OtherTower(), {}};
  }
  auto promise = self->make_response_promise<EncodedMedium>();
  state.jobs.DropUnwanted(1);  // lest they keep this one out
  const MediaJob* job =
      state.jobs.Take(encode.file, encode.key, {promise, encode.cancelled});
  if (job != nullptr && state.jobs.size() == 1) Begin(self);
  return promise;
}

Started Open(Self self) {
  VisionState& state = self->state;
  const ModelConfig& config = state.config.model->config();
  // Before this thread is pinned, which those it starts would be with it.
  state.reader = self->spawn<caf::detached + caf::linked>(
      ImageReader, state.config.limits,
      static_cast<int>(config.vision_image_height),
      static_cast<int>(config.vision_image_width));
  kernels::SetComputeThreads(state.config.threads);
  kernels::PinComputeThreads();
  Post(state);
  if (state.config.pinned) return {Load(state), {}};
  return {};
}

}  // namespace

VisionState::~VisionState() {
  const absl::Status lost =
      absl::UnavailableError("the vision actor was lost; try again");
  jobs.FailAll(lost);
  if (config.board != nullptr) config.board->Write(std::nullopt);
}

LocalVisionActor::behavior_type Vision(Self self, VisionActorConfig config) {
  self->state.tower.Open(config.pinned, config.idle);
  self->state.jobs.Open("image", config.bounds, config.cache_bytes,
                        [self] { Post(self->state); });
  self->state.config = std::move(config);
  self->state.status.tower = self->state.config.model->vision_fingerprint();
  return {
      [self](const Start&) -> caf::result<Started> { return Open(self); },
      [self](const EncodeImage& encode) -> caf::result<EncodedMedium> {
        return Take(self, encode);
      },
      [self](const StatusQuery&) { return Describe(self->state); },
      [self](const NextSlice&) { Advance(self); },
      [self](const IdleCheck&) {
        VisionState& state = self->state;
        if (state.tower.UnloadIfIdle(!state.jobs.empty())) Post(state);
      },
  };
}

}  // namespace lapidary
