// The ways to give a prompt: a question, raw text, token ids, or a
// conversation in Hugging Face's form.
#ifndef LAPIDARY_DEPLOY_CLI_PROMPT_FLAGS_H_
#define LAPIDARY_DEPLOY_CLI_PROMPT_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "deploy/cli/flags.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

class PromptFlags {
 public:
  void Define(FlagSet* flags);
  // Whether a flag gives the prompt (or part of it, for a picture or sound).
  bool given() const;
  // The prompt of the flags, or with `question` a conversation of one turn.
  //
  // Errors: of usage, if there is none or more than one; those of the files.
  absl::StatusOr<v1::Prompt> Build(
      const std::optional<std::string>& question) const;

 private:
  std::optional<std::string> prompt_, prompt_file_, ids_, messages_, system_;
  std::vector<std::string> images_, audios_;
};

// "2,105,9731" as ids; spaces are allowed.
absl::StatusOr<std::vector<int32_t>> ParseIds(absl::string_view text);

// Hugging Face's chat list: [{"role": …, "content": …}, …], content a string or
// a list of {"type":"text","text":…}, {"type":"image"|"audio","path":…}.
// Relative paths are taken from the current folder. `what` begins an error's
// message.
absl::StatusOr<v1::Chat> ParseMessages(absl::string_view json,
                                       absl::string_view what);

// Appends a turn of words alone.
void AddText(absl::string_view role, const std::string& text, v1::Chat* chat);

// The bytes of a file, or with "-" of standard input.
absl::StatusOr<std::string> ReadInput(const std::string& path);

// INVALID_ARGUMENT that names the first byte that is not UTF-8: the API's texts
// are.
absl::Status CheckUtf8(absl::string_view text, absl::string_view what);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_PROMPT_FLAGS_H_
