// MP3 by libmpg123 itself: through libsndfile it writes what it thinks of a
// damaged file to stderr, which a client could fill a log with.
#ifndef LAPIDARY_STORAGE_SOUND_MP3_H_
#define LAPIDARY_STORAGE_SOUND_MP3_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/sound.h"

namespace lapidary {

// Decodes an MP3 file; errors as DecodeSound has them. Its length is known when
// it is decoded: a header may tell it, none has to.
absl::StatusOr<Sound> DecodeMp3(absl::string_view bytes,
                                const SoundLimits& limits);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_MP3_H_
