// Progress of a long command on stderr: a bar that redraws itself on a
// terminal, a line now and then elsewhere.
#ifndef LAPIDARY_DEPLOY_CLI_PROGRESS_H_
#define LAPIDARY_DEPLOY_CLI_PROGRESS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace lapidary::cli {

// "1.5 GiB", "640 KiB", "12 B"
std::string HumanBytes(uint64_t bytes);

class Progress {
 public:
  // `verb` begins each line: "packing".
  explicit Progress(absl::string_view verb);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(absl::string_view step, uint64_t done, uint64_t total);
  // Ends the bar's line, before anything else is written.
  void End();

 private:
  const std::string verb_;
  const bool terminal_;
  const absl::Time start_;
  absl::Time shown_ = absl::InfinitePast();
  bool drawn_ = false;
  bool complete_ = false;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_PROGRESS_H_
