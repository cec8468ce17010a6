// Sounds from bytes to the samples that the audio tower takes.
//
//   absl::StatusOr<Sound> sound = DecodeSound(bytes, SoundLimits());
//
// or, while it is spoken,
//
//   auto stream = PcmStream::Open({PcmFormat::Encoding::kS16, 48000, 2},
//                                 SoundLimits());
//   while (…) {
//     if (auto s = (*stream)->Push(chunk, &samples); !s.ok()) return s;
//   }
//   if (auto s = (*stream)->Finish(&samples); !s.ok()) return s;
//
// Channels are averaged first and then resampled (soxr's high quality), as
// Hugging Face's loader does: n frames become ceil(n · 16000 / rate) samples.
// A sample that is not a number, infinite or beyond ±1e6 is an error and not
// made silent: what else is wrong with such a file nobody knows.
#ifndef LAPIDARY_STORAGE_SOUND_DECODER_H_
#define LAPIDARY_STORAGE_SOUND_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/sound.h"

namespace lapidary {

// A whole WAV (RF64, any of its common encodings), FLAC, Ogg (Vorbis, Opus) or
// MP3 file. The content says which format it is; what a client claims (a MIME
// type, a file name) is not asked for. Decoding takes a few blocks beside the
// result, whatever the header says.
//
// Errors, all of which name what was found and a remedy: INVALID_ARGUMENT for
// another kind of file, no samples at all, a rate, channel count or length
// outside the limits, samples that are no numbers, and anything truncated or
// damaged that can be seen to be (an MP3 that ends between two frames, or an
// Ogg between two pages, can not); RESOURCE_EXHAUSTED if a library is refused
// memory.
absl::StatusOr<Sound> DecodeSound(absl::string_view bytes,
                                  const SoundLimits& limits);

// Samples without a header. Errors as DecodeSound's, and for bytes that are no
// whole number of frames.
absl::StatusOr<Sound> DecodePcm(absl::string_view bytes,
                                const PcmFormat& format,
                                const SoundLimits& limits);

// Samples without a header that come in pieces. Any cutting of the bytes into
// pieces, through the middle of a sample too, gives the samples that DecodePcm
// gives.
class PcmStream {
 public:
  // Errors: INVALID_ARGUMENT for a format outside of the limits;
  // RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<PcmStream>> Open(
      const PcmFormat& format, const SoundLimits& limits);
  ~PcmStream();
  PcmStream(const PcmStream&) = delete;
  PcmStream& operator=(const PcmStream&) = delete;

  // Appends to `samples` what became of the bytes: some milliseconds may stay
  // behind in the resampler. After an error the stream is of no use.
  absl::Status Push(absl::string_view bytes, std::vector<float>* samples);

  // Appends what is left. Once, at the end; INVALID_ARGUMENT where it ends in
  // the middle of a frame.
  absl::Status Finish(std::vector<float>* samples);

  int64_t frames() const;  // taken so far, at the format's rate

 private:
  struct Impl;
  explicit PcmStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_DECODER_H_
