// Plays the vision actor on a node that loads no tower: has other nodes encode
// its images (media_peers.h), and keeps their soft tokens. Losing it loses the
// images on their way.
#ifndef LAPIDARY_ACTORS_REMOTE_VISION_H_
#define LAPIDARY_ACTORS_REMOTE_VISION_H_

#include <cstdint>

#include "actors/media_peers.h"
#include "actors/messages.h"

namespace lapidary {

struct RemoteVisionConfig {
  MediaPeersConfig peers;
  int64_t rows = 0;  // of an image
};

using RemoteVisionActor =
    VisionActor::extend<caf::reacts_to<PeerAnswered>,
                        caf::reacts_to<PeerProbed>, caf::reacts_to<ProbePeers>,
                        caf::reacts_to<DropUnwanted>>;

struct RemoteVisionState {
  // Tells all who wait that it is lost.
  ~RemoteVisionState();

  MediaPeers peers;
  VisionStatus counters;
};

// Start is answered at once: peers may come later.
RemoteVisionActor::behavior_type RemoteVision(
    RemoteVisionActor::stateful_pointer<RemoteVisionState> self,
    RemoteVisionConfig config);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_REMOTE_VISION_H_
