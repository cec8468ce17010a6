// Decode-and-mel as a fuzz target: what both of its drivers call.
#ifndef LAPIDARY_TESTS_FUZZ_SOUND_FUZZ_H_
#define LAPIDARY_TESTS_FUZZ_SOUND_FUZZ_H_

#include <cstddef>
#include <cstdint>

namespace lapidary {

// Decodes `data` as a file and as raw samples, and makes mel frames of what
// comes out. Aborts if a result breaks a promise of sound_decoder.h or
// kernels/audio/mel.h. True if the file was a sound.
bool DecodeAndMel(const uint8_t* data, size_t size);

// If `data` looks like an Ogg file, gives its pages the checksums of their
// contents, so that mutations reach what lies behind our check of them.
void MendOggChecksums(uint8_t* data, size_t size);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_FUZZ_SOUND_FUZZ_H_
