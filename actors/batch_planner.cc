#include "actors/batch_planner.h"

#include <algorithm>

namespace lapidary {
namespace {

// What prompts may take of one step.
struct Room {
  int64_t rows = 0;
  double ns = 0;  // beyond the decode step; checked only if `timed`
  bool timed = false;
};

// Prompts that could go on now.
int64_t WaitingPrompts(absl::Span<const Candidate> candidates) {
  return std::count_if(candidates.begin(), candidates.end(),
                       [](const Candidate& candidate) {
                         return !candidate.decoding && candidate.ready_rows > 0;
                       });
}

Room RoomForPrompts(int64_t decode_rows, int64_t prompts,
                    const BatchLimits& limits, const StepCost& cost) {
  Room room;
  room.rows = limits.max_rows - decode_rows;
  if (decode_rows == 0) return room;
  room.timed = true;
  const double majority = std::max(
      1.0, static_cast<double>(prompts) / static_cast<double>(decode_rows));
  room.ns = (limits.max_slowdown * majority - 1) * cost.DecodeNs(decode_rows);
  // At most twice what was seen lately: a row may seem free that was hidden
  // behind the weights' way from memory, and many of them are not.
  room.rows = std::min(
      room.rows, std::max(kFirstPromptRows, 2 * cost.widest_beside_decode()));
  return room;
}

// The next chunk of `candidate`, so large that it fills the block of rows that
// `rows` rows have begun.
int64_t Chunk(int64_t rows, int64_t left, int64_t room) {
  return std::min({kRowBlock - rows % kRowBlock, left, room});
}

void ShareAmongPrompts(absl::Span<const Candidate> candidates,
                       int64_t decode_rows, Room room, const StepCost& cost,
                       std::vector<int64_t>& rows) {
  std::vector<int64_t> served;
  for (const Candidate& candidate : candidates) {
    served.push_back(candidate.served);
  }
  int64_t granted = 0;
  while (granted < room.rows) {
    size_t next = candidates.size();
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].decoding || rows[i] == candidates[i].ready_rows) {
        continue;
      }
      if (next == candidates.size() || served[i] < served[next]) next = i;
    }
    if (next == candidates.size()) return;
    const Candidate& candidate = candidates[next];
    const int64_t chunk =
        Chunk(decode_rows + granted, candidate.ready_rows - rows[next],
              room.rows - granted);
    if (room.timed) {
      room.ns -= static_cast<double>(chunk) *
                 cost.PromptRowNs(candidate.kind,
                                  static_cast<double>(candidate.position),
                                  /*beside_decode=*/true);
      if (room.ns < 0 && granted >= kFewestPromptRows) return;
    }
    rows[next] += chunk;
    served[next] += chunk * candidate.row_charge;
    granted += chunk;
  }
}

}  // namespace

std::vector<int64_t> PlanStep(absl::Span<const Candidate> candidates,
                              const BatchLimits& limits, const StepCost& cost) {
  std::vector<int64_t> rows(candidates.size(), 0);
  int64_t decode_rows = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].decoding || candidates[i].ready_rows == 0 ||
        decode_rows == limits.max_rows) {
      continue;
    }
    rows[i] = 1;
    ++decode_rows;
  }
  if (decode_rows > 0 && cost.WantsDecodeStep(decode_rows)) return rows;
  ShareAmongPrompts(
      candidates, decode_rows,
      RoomForPrompts(decode_rows, WaitingPrompts(candidates), limits, cost),
      cost, rows);
  return rows;
}

StepShape ShapeOf(absl::Span<const Candidate> candidates,
                  absl::Span<const int64_t> rows) {
  StepShape shape;
  double positions = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].decoding) {
      shape.decode_rows += rows[i];
      continue;
    }
    shape.prompt_rows[static_cast<size_t>(candidates[i].kind)] += rows[i];
    positions += static_cast<double>(rows[i]) *
                 (static_cast<double>(candidates[i].position) +
                  static_cast<double>(rows[i]) / 2);
  }
  const int64_t prompt = shape.all_prompt_rows();
  if (prompt > 0) shape.context = positions / static_cast<double>(prompt);
  return shape;
}

double PromptNs(PromptKind kind, int64_t rows, int64_t decode_rows,
                const BatchLimits& limits, const StepCost& cost) {
  const double row_ns = cost.PromptRowNs(kind, static_cast<double>(rows) / 2,
                                         /*beside_decode=*/decode_rows > 0);
  const double all_ns = static_cast<double>(rows) * row_ns;
  if (decode_rows == 0) return all_ns;
  // The share of the steps' time that is the prompts'.
  return all_ns * limits.max_slowdown / std::max(0.1, limits.max_slowdown - 1);
}

}  // namespace lapidary
