// Which actors a node is made of, and what each is told.
#ifndef LAPIDARY_ACTORS_NODE_ROLES_H_
#define LAPIDARY_ACTORS_NODE_ROLES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "actors/memory_plan.h"
#include "actors/messages.h"
#include "actors/node_options.h"
#include "actors/served_model.h"
#include "actors/sound_plan.h"
#include "actors/status_board.h"
#include "actors/supervisor.h"
#include "kernels/attention/kv_cache.h"
#include "storage/image.h"
#include "storage/packed_model.h"

namespace lapidary {

// What a node has found out about its model and its machine before it starts.
struct NodeFacts {
  NodeOptions options;
  std::shared_ptr<const PackedModel> model;
  std::shared_ptr<const ServedModel> served;
  kernels::KvLayout kv_layout;
  MemoryPlan memory;
  int64_t kv_pages = 0;
  ImageLimits image_limits;
  SoundPlan sounds;
  const std::shared_ptr<VisionBoard> board = std::make_shared<VisionBoard>();
  const std::shared_ptr<AudioBoard> audio_board =
      std::make_shared<AudioBoard>();

  // Whether this node takes images, and whether it encodes them itself.
  bool sees() const { return served->no_images.empty(); }
  bool hears() const { return served->no_sounds.empty(); }
  bool holds_tower() const {
    return sees() && options.vision.mode != VisionOptions::Mode::kRemote;
  }
  bool holds_audio_tower() const {
    return hears() && options.audio.mode != AudioOptions::Mode::kRemote;
  }
};

std::vector<RoleSpec> NodeRoles(const NodeFacts& node,
                                const DirectoryActor& directory);

// Threads that compute.
int ThreadsOf(const NodeOptions& options);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_NODE_ROLES_H_
