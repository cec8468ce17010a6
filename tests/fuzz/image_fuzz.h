// Decode-and-resize as a fuzz target: what both of its drivers call.
#ifndef LAPIDARY_TESTS_FUZZ_IMAGE_FUZZ_H_
#define LAPIDARY_TESTS_FUZZ_IMAGE_FUZZ_H_

#include <cstddef>
#include <cstdint>

namespace lapidary {

// Decodes `data` and, if that gives an image, resizes it. Aborts if a result
// breaks a promise of image_decoder.h or image_resize.h. True if there was an
// image.
bool DecodeAndResize(const uint8_t* data, size_t size);

// If `data` looks like a PNG file, gives its chunks the checksums of their
// contents, so that mutations reach what lies behind libpng's check of them.
void MendPngChecksums(uint8_t* data, size_t size);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_FUZZ_IMAGE_FUZZ_H_
