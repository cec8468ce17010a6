// Samples to log-mel features (gemma3n-audio.md §1): what one frame is made of
// depends on its own samples alone, so that a clip's frames may be computed one
// by one, in any order, while the sound is still coming.
//
//   MelFrontEnd mel(config);
//   mel.Frame(samples + m * config.hop_length, row, &scratch);
//
// Samples, pre-emphasis and window in f32, each operation rounded as Hugging
// Face's are; transform, magnitudes, bands and logarithm in double.
#ifndef LAPIDARY_KERNELS_AUDIO_MEL_H_
#define LAPIDARY_KERNELS_AUDIO_MEL_H_

#include <cstdint>
#include <memory>

#include "kernels/audio/config.h"
#include "kernels/scratch.h"

namespace lapidary::kernels::audio {

class MelFrontEnd {
 public:
  // `config` as ReadAudioConfig leaves it.
  explicit MelFrontEnd(const MelConfig& config);
  ~MelFrontEnd();
  MelFrontEnd(const MelFrontEnd&) = delete;
  MelFrontEnd& operator=(const MelFrontEnd&) = delete;

  // One frame. May be called by several threads at once, each with its own
  // scratch memory.
  //   samples  [frame_length], [frame_length + 1] without the HTK flavour
  //   out      [feature_size]
  void Frame(const float* samples, float* out, Scratch* scratch) const;

 private:
  struct Tables;
  std::unique_ptr<const Tables> tables_;
};

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_MEL_H_
