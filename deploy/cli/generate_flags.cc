#include "deploy/cli/generate_flags.h"

#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace lapidary::cli {
namespace {

constexpr int64_t kInt32Min = std::numeric_limits<int32_t>::min();
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

}  // namespace

void GenerateFlags::Define(FlagSet* flags) {
  flags->Section("Answer");
  flags->OptionalInteger("max-tokens",
                         "Longest answer in tokens. Without it 1024, or the "
                         "server's --default-max-tokens; never past the "
                         "context.",
                         kInt32Min, kInt32Max, &max_tokens_);
  flags->Texts("stop", "TEXT", "Ends the answer, and is not part of it.",
               &stop_);
  flags->Switch("ignore-eos",
                "Go on after an end-of-sequence token, up to --max-tokens.",
                &ignore_eos_);
  flags->Duration("time-limit",
                  "Ends the answer where it then is; 0 for no limit.",
                  &time_limit_);
  priority_.Define(flags);
  flags->Switch("no-prefix-cache",
                "Compute the whole prompt, and leave nothing of it to later "
                "requests.",
                &no_prefix_cache_);
  flags->Section("Sampling (without a flag, the checkpoint's own default)");
  flags->Number("temperature",
                "0 is greedy: always the most probable token. Higher is more "
                "random.",
                &temperature_);
  flags->OptionalInteger("top-k",
                         "Draw among so many most probable tokens; 0 is off.",
                         kInt32Min, kInt32Max, &top_k_);
  flags->Number("top-p",
                "Draw among the fewest tokens whose probabilities add up to "
                "it; 1 is off.",
                &top_p_);
  flags->Number("min-p",
                "Drop tokens less probable than it times the best one; 0 is "
                "off.",
                &min_p_);
  flags->Number("repetition-penalty",
                "Above 1, makes tokens rarer that were there before; 1 is "
                "off.",
                &repetition_penalty_);
  flags->Unsigned("seed", "The same seed gives the same answer.", &seed_);
  flags->Texts("logit-bias", "ID:X", "Adds X to the logit of a token.",
               &logit_bias_);
}

absl::Status GenerateFlags::Apply(v1::GenerateRequest* request) const {
  if (max_tokens_) request->set_max_tokens(*max_tokens_);
  for (const std::string& stop : stop_) request->add_stop(stop);
  request->set_ignore_eos(ignore_eos_);
  request->set_no_prefix_cache(no_prefix_cache_);
  const int64_t limit_ms = absl::ToInt64Milliseconds(time_limit_);
  if (limit_ms > std::numeric_limits<uint32_t>::max()) {
    return UsageError("--time-limit: at most 49 days");
  }
  request->set_time_limit_ms(static_cast<uint32_t>(limit_ms));
  request->set_priority(priority_.value());
  v1::Sampling* sampling = request->mutable_sampling();
  if (temperature_) sampling->set_temperature(*temperature_);
  if (top_k_) sampling->set_top_k(*top_k_);
  if (top_p_) sampling->set_top_p(*top_p_);
  if (min_p_) sampling->set_min_p(*min_p_);
  if (repetition_penalty_) {
    sampling->set_repetition_penalty(*repetition_penalty_);
  }
  if (seed_) sampling->set_seed(*seed_);
  for (const std::string& text : logit_bias_) {
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(text, absl::MaxSplits(':', 1));
    int32_t id = 0;
    float bias = 0;
    if (!absl::SimpleAtoi(halves.first, &id) ||
        !absl::SimpleAtof(halves.second, &bias)) {
      return UsageError(absl::StrCat("--logit-bias=", text,
                                     ": a token id and a number are wanted, ",
                                     "as in 106:-5"));
    }
    (*sampling->mutable_logit_bias())[id] = bias;
  }
  return absl::OkStatus();
}

}  // namespace lapidary::cli
