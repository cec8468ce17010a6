#include "actors/sound_plan.h"

#include <algorithm>

#include "storage/sound.h"
#include "storage/sound_windows.h"

namespace lapidary {
namespace {

constexpr uint64_t kSecond = kSoundRate * sizeof(float);
// A batch's buffers, for each frame and unit of the tower's width; half of it
// is room for the past frames that 64 live sounds bring.
constexpr uint64_t kBatchBytes = 72;

}  // namespace

SoundPlan PlanSounds(const ModelConfig& config, uint64_t tower_bytes,
                     size_t cache_bytes, uint64_t limit, bool least) {
  SoundPlan plan;
  plan.cache_bytes = cache_bytes;
  if (!config.audio.ok()) return plan;
  const kernels::audio::AudioConfig& audio = *config.audio;
  const uint64_t rows =
      config.sound_rows() * config.text.hidden_size * sizeof(float);
  const uint64_t state =
      audio.conf_num_hidden_layers * audio.hidden_size *
      (2 * audio.attention_keys() + audio.conf_conv_kernel_size) *
      sizeof(float);
  const int64_t window =
      LongestWindow(audio, config.audio_soft_tokens_per_image);
  // Twice: it may have to be cut. What waits (4 s, and a message of 10 s), and
  // what follows the cut.
  const bool remote = tower_bytes == 0;
  const uint64_t live =
      remote ? rows
             : 2 * (state + rows) + 14 * kSecond + window / 6 * sizeof(float);
  if (least || remote) plan.open_clips = 1;
  // Decoded files at once: those that are open, and one that is being read.
  const uint64_t decoded = ((remote ? 0 : plan.open_clips) + 1) * kSecond;
  if (limit > 0) {
    const uint64_t part = least ? 0 : limit / 32;
    plan.cache_bytes = std::min<size_t>(cache_bytes, 8 * rows);
    plan.conversation_bytes =
        std::min<size_t>(plan.conversation_bytes, 8 * rows);
    plan.max_seconds =
        std::clamp(static_cast<double>(part / decoded), 30.0, 30 * 60.0);
    plan.max_live = static_cast<int>(
        std::clamp<uint64_t>(part / (live + plan.conversation_bytes), 1, 64));
  }
  const uint64_t batch =
      kBatchBytes * audio.hidden_size * audio.ConformerFrames(window);
  plan.bytes = tower_bytes + plan.cache_bytes + (remote ? 0 : batch) +
               static_cast<uint64_t>(plan.max_seconds) * decoded +
               plan.max_live * (live + plan.conversation_bytes);
  return plan;
}

}  // namespace lapidary
