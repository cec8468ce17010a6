#include "actors/batch_planner.h"

#include <algorithm>

namespace lapidary {

std::vector<int64_t> PlanStep(absl::Span<const Candidate> candidates,
                              const BatchLimits& limits, uint64_t turn) {
  std::vector<int64_t> rows(candidates.size(), 0);
  std::vector<size_t> prompts;  // that could still take rows
  int64_t room = limits.max_rows;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].ready_rows == 0) continue;
    if (!candidates[i].decoding) {
      prompts.push_back(i);
    } else if (room > 0) {
      rows[i] = 1;
      --room;
    }
  }
  if (room < limits.max_rows) {
    room = std::min(room, limits.prompt_rows_beside_decode);
  }
  if (prompts.empty()) return rows;
  std::rotate(prompts.begin(), prompts.begin() + turn % prompts.size(),
              prompts.end());
  while (room > 0 && !prompts.empty()) {
    const int64_t share =
        std::max<int64_t>(1, room / static_cast<int64_t>(prompts.size()));
    std::vector<size_t> unfilled;
    for (size_t i : prompts) {
      const int64_t more =
          std::min({share, candidates[i].ready_rows - rows[i], room});
      rows[i] += more;
      room -= more;
      if (rows[i] < candidates[i].ready_rows) unfilled.push_back(i);
    }
    prompts.swap(unfilled);
  }
  return rows;
}

}  // namespace lapidary
