// The vision actor: image files in, soft tokens out.
//
// Its tower is loaded when an image first needs it, or at the start if it is
// pinned, and unloaded after some time without images. Images are encoded one
// after the other in the order in which they came, in slices between which the
// decoder has its turns (kernels/compute_turn.h); an image that was encoded
// before, or is being encoded, is not encoded again.
#ifndef LAPIDARY_ACTORS_VISION_H_
#define LAPIDARY_ACTORS_VISION_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "actors/image_cache.h"
#include "actors/messages.h"
#include "kernels/vision/tower.h"
#include "storage/image.h"
#include "storage/packed_model.h"

namespace lapidary {

struct VisionActorConfig {
  std::shared_ptr<const PackedModel> model;
  bool pinned = false;
  // Without an image for so long an unpinned tower is unloaded.
  std::chrono::nanoseconds idle{std::chrono::minutes(5)};
  size_t cache_bytes = size_t{64} << 20;
  ImageLimits limits;
  // Bytes of files that may wait, beside the one at work; an image more is
  // refused with RESOURCE_EXHAUSTED.
  size_t max_waiting_bytes = size_t{256} << 20;
  int threads = 1;  // that compute
};

struct ReadImage {
  std::shared_ptr<const std::string> file;
};

struct ImagePixels {
  absl::Status status;
  std::shared_ptr<const std::vector<float>> pixels;  // [height][width][3]
};

// Decodes and resizes, on a thread of its own that is not the team's.
using ImageReaderActor =
    caf::typed_actor<caf::replies_to<ReadImage>::with<ImagePixels>>;

struct VisionState {
  using Promise = caf::typed_response_promise<EncodedImage>;
  struct Asker {
    Promise promise;
    std::shared_ptr<const std::atomic<bool>> cancelled;

    bool waits() const { return cancelled == nullptr || !*cancelled; }
  };
  struct Job {
    std::shared_ptr<const std::string> file;
    std::vector<Asker> askers;

    bool wanted() const;
  };
  using Time = std::chrono::steady_clock::time_point;

  // Tells all who wait that it is lost.
  ~VisionState();

  VisionActorConfig config;
  std::unique_ptr<ImageCache> cache;
  ImageReaderActor reader;
  std::unique_ptr<kernels::vision::VisionTower> tower;  // null: not loaded
  std::deque<Job> jobs;  // the first is being read or encoded
  std::shared_ptr<const std::vector<float>> pixels;  // of the first, once read
  Time began, last_used;
  size_t waiting_bytes = 0;  // of all jobs' files
  VisionStatus status;
};

// Computes: spawn it detached.
VisionActor::behavior_type Vision(
    VisionActor::stateful_pointer<VisionState> self, VisionActorConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ReadImage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ImagePixels)

#endif  // LAPIDARY_ACTORS_VISION_H_
