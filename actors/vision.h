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
#include <memory>
#include <vector>

#include "actors/lazy_tower.h"
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
  MediaBounds bounds;
  int threads = 1;  // that compute
};

struct ReadImage {
  std::shared_ptr<const std::string> file;
  std::shared_ptr<const MediaWaiting> waiting;
};

struct ImagePixels {
  absl::Status status;  // CANCELLED: nobody waited any more
  std::shared_ptr<const std::vector<float>> pixels;  // [height][width][3]
};

// Decodes and resizes, on a thread of its own that is not the team's.
using ImageReaderActor =
    caf::typed_actor<caf::replies_to<ReadImage>::with<ImagePixels>>;

// The next slice of the image that is being encoded.
struct NextSlice {};

using LocalVisionActor =
    VisionActor::extend<caf::reacts_to<NextSlice>, caf::reacts_to<IdleCheck>>;

struct VisionState {
  using Time = std::chrono::steady_clock::time_point;

  // Tells all who wait that it is lost.
  ~VisionState();

  VisionActorConfig config;
  ImageReaderActor reader;
  LazyTower<kernels::vision::VisionTower> tower;
  MediaJobs<MediaJob> jobs;  // the first is being read or encoded
  std::shared_ptr<const std::vector<float>> pixels;  // of the first, once read
  Time began;
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

#endif  // LAPIDARY_ACTORS_VISION_H_
