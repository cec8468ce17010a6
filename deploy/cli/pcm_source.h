// Sound to be sent piece by piece: a file, or standard input while it comes.
#ifndef LAPIDARY_DEPLOY_CLI_PCM_SOURCE_H_
#define LAPIDARY_DEPLOY_CLI_PCM_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/sound.h"

namespace lapidary::cli {

class PcmSource {
 public:
  // `path`: a sound file of any kind that the server takes; or "-", a WAV on
  // standard input. With `raw`, either is samples without a header.
  //
  // Errors: those of reading and of DecodeSound; INVALID_ARGUMENT for standard
  // input that is no WAV of 16-bit integers or floats, which names remedies.
  static absl::StatusOr<PcmSource> Open(const std::string& path,
                                        const std::optional<PcmFormat>& raw);

  const PcmFormat& format() const { return format_; }
  bool live() const { return live_; }  // it comes at its own pace

  // The next `seconds`, or what there is; empty at the end. Waits for it where
  // it is live.
  absl::StatusOr<std::string> Next(double seconds);

 private:
  PcmSource() = default;
  // Up to the samples of a WAV on standard input.
  absl::Status ReadHeader();
  absl::Status ReadFormat(const std::string& chunk);

  PcmFormat format_;
  bool live_ = false;
  std::string bytes_;      // of a file
  size_t at_ = 0;          // in them
  uint64_t left_ = ~0ull;  // bytes that may still come of standard input
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_PCM_SOURCE_H_
