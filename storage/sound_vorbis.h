// Ogg Vorbis by libvorbisfile: libsndfile keeps memory for ever of each file
// whose headers it refuses.
#ifndef LAPIDARY_STORAGE_SOUND_VORBIS_H_
#define LAPIDARY_STORAGE_SOUND_VORBIS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/sound.h"

namespace lapidary {

// Whether an Ogg file begins as Vorbis does.
bool IsVorbis(absl::string_view bytes);

// Decodes an Ogg Vorbis file; errors as DecodeSound has them.
absl::StatusOr<Sound> DecodeVorbis(absl::string_view bytes,
                                   const SoundLimits& limits);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_VORBIS_H_
