#include "deploy/cli/groups_text.h"

#include "absl/strings/str_format.h"
#include "deploy/cli/progress.h"

namespace lapidary::cli {

std::string GroupsText(const std::vector<TensorGroup>& groups) {
  std::string text = absl::StrFormat("%-24s %5s %8s %10s %10s\n", "weights",
                                     "dtype", "tensors", "size", "rms error");
  for (const TensorGroup& group : groups) {
    const bool quantised = group.rms_error > 0;
    absl::StrAppendFormat(
        &text, "%-24s %5s %8d %10s %10s\n", group.name,
        kernels::NameOf(group.dtype), group.tensors, HumanBytes(group.bytes),
        quantised ? absl::StrFormat("%.2f %%", 100 * group.rms_error) : "");
  }
  return text;
}

}  // namespace lapidary::cli
