// Sound files by libsndfile, from memory.
#ifndef LAPIDARY_STORAGE_SOUND_FILE_H_
#define LAPIDARY_STORAGE_SOUND_FILE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/sound.h"

namespace lapidary {

// Decodes a WAV, FLAC or Ogg Opus file; errors as DecodeSound has them.
absl::StatusOr<Sound> DecodeSoundFile(absl::string_view bytes,
                                      const SoundLimits& limits);

// What libsndfile reads past: INVALID_ARGUMENT where a WAV's data or an Ogg's
// last page end behind the file, or an Ogg page's checksum is wrong.
absl::Status CheckWav(absl::string_view bytes);
absl::Status CheckOgg(absl::string_view bytes);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_FILE_H_
