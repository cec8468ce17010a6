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

#include "actors/media_cache.h"
#include "actors/media_jobs.h"
#include "actors/messages.h"
#include "actors/status_board.h"
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
  // Where its status is written whenever that changes; may be null.
  std::shared_ptr<VisionBoard> board;
  // Bytes of files that may wait, beside the one at work; an image more is
  // refused with RESOURCE_EXHAUSTED.
  size_t max_waiting_bytes = size_t{256} << 20;
  // And how many: the last of them would wait minutes.
  size_t max_waiting = 64;
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

// The next slice of the image that is being encoded.
struct NextSlice {};
// Looks whether the tower has been idle for too long.
struct IdleCheck {};

using LocalVisionActor =
    VisionActor::extend<caf::reacts_to<NextSlice>, caf::reacts_to<IdleCheck>>;

struct VisionState {
  using Time = std::chrono::steady_clock::time_point;

  // Tells all who wait that it is lost.
  ~VisionState();

  VisionActorConfig config;
  std::unique_ptr<MediaCache> cache;
  ImageReaderActor reader;
  std::unique_ptr<kernels::vision::VisionTower> tower;  // null: not loaded
  std::deque<MediaJob> jobs;  // the first is being read or encoded
  std::shared_ptr<const std::vector<float>> pixels;  // of the first, once read
  Time began, last_used;
  size_t waiting_bytes = 0;  // of all jobs' files
  VisionStatus status;
};

// Computes: spawn it detached.
LocalVisionActor::behavior_type Vision(
    LocalVisionActor::stateful_pointer<VisionState> self,
    VisionActorConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ReadImage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ImagePixels)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::NextSlice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::IdleCheck)

#endif  // LAPIDARY_ACTORS_VISION_H_
