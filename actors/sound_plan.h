// What sounds may come to take beside the text model, and the limits that keep
// them within it.
#ifndef LAPIDARY_ACTORS_SOUND_PLAN_H_
#define LAPIDARY_ACTORS_SOUND_PLAN_H_

#include <cstddef>
#include <cstdint>

#include "storage/model_config.h"

namespace lapidary {

struct SoundPlan {
  uint64_t bytes = 0;  // of all that follows, and of the tower
  size_t cache_bytes = 0;
  double max_seconds = 30 * 60;  // of a file
  int open_clips = 4;            // files that are encoded in turn
  int max_live = 64;             // conversations, each with one live sound
  // Soft tokens of earlier turns that a conversation keeps.
  size_t conversation_bytes = size_t{16} << 20;
};

// `limit` is that of the whole process, 0 for none; without one nothing needs
// to be planned. Under one, eight known sounds are kept, and files and live
// sounds take a thirty-second part of it each.
//   tower_bytes  0: other nodes encode, nothing of a sound's state is here
//   least        of both, as little as can be: one live sound, one file of 30 s
SoundPlan PlanSounds(const ModelConfig& config, uint64_t tower_bytes,
                     size_t cache_bytes, uint64_t limit, bool least);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SOUND_PLAN_H_
