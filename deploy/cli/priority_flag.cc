#include "deploy/cli/priority_flag.h"

namespace lapidary::cli {

void PriorityFlag::Define(FlagSet* flags) {
  flags->Choice("priority", {"low", "normal", "high"},
                "Who goes first where requests wait for each other.",
                &priority_);
}

v1::Priority PriorityFlag::value() const {
  if (priority_ == "low") return v1::PRIORITY_LOW;
  if (priority_ == "high") return v1::PRIORITY_HIGH;
  return v1::PRIORITY_NORMAL;
}

}  // namespace lapidary::cli
