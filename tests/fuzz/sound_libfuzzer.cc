// Fuzzes decode-and-mel with libFuzzer (tests/fuzz/README.md).
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/sound_fuzz.h"

// libFuzzer's names.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Inputs that decode to nothing stay in the corpus: errors are what is tried.
  lapidary::DecodeAndMel(data, size);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  const size_t mutated = LLVMFuzzerMutate(data, size, max_size);
  // Wrong checksums are worth trying too.
  if (seed % 8 != 0) lapidary::MendOggChecksums(data, mutated);
  return mutated;
}
