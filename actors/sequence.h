// What the sequencer knows of one sequence: its token history, how far it is
// computed, and the PLE rows that have arrived for what comes next.
#ifndef LAPIDARY_ACTORS_SEQUENCE_H_
#define LAPIDARY_ACTORS_SEQUENCE_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "actors/batch_planner.h"
#include "actors/messages.h"

namespace lapidary {

class Sequence {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Sequence(const Submit& submit, ClientActor from, Time now);

  Submit request;  // without its soft tokens; only GoOn changes it
  ClientActor client;

  // Positions that it may come to hold keys and values of.
  int64_t max_positions() const;
  // Position up to which rows can be run now: all of the prompt, then one
  // position a drawn token. The last token to be scored is never run.
  int64_t known_positions() const;
  // Rows before it have been run.
  int64_t computed() const { return computed_; }
  bool decoding() const;
  int32_t newest_token() const { return tokens_.back(); }
  bool finished_scoring() const;
  int32_t completion_tokens() const;
  // The prompt of an open one goes on, or is whole. Soft tokens of positions
  // that it has already are taken to be those that it has.
  //
  // Errors: FAILED_PRECONDITION for a prompt that begins with other tokens, or
  // that is whole without any more; OUT_OF_RANGE where it does not fit the
  // positions that were reserved. The sequence is then as it was.
  absl::Status GoOn(const Submit& submit, ClientActor from, Time now);

  // Tokens [first, first + count) of the history.
  std::vector<int32_t> TokensAt(int64_t first, int64_t count) const;
  // SHA-256 of the row that stands for the token at `position`; null where it
  // is the token's own.
  const std::string* SoftTokenDigest(int64_t position) const;

  // PLE rows: of which positions they are to be asked for next, at most
  // `window` of them (none while enough have been asked for), and how many are
  // here for the next step.
  int64_t RowsToFetch(int64_t window) const;
  int64_t fetched_to() const { return fetched_to_; }
  void FetchStarted(int64_t count, Time now);
  void RowsArrived(int64_t first, kernels::Tensor rows, Time now);
  int64_t ready_rows() const;

  // What the planner must know of it.
  Candidate AsCandidate() const;
  // The next `rows` rows, as the stage takes them. They are then on their way
  // until StepDone.
  StepRows Take(int64_t rows, Time now);
  void StepDone(int64_t compute_ns, Time now);
  bool in_step() const { return in_step_ > 0; }
  // An open prompt of which nothing is left to run until more of it comes.
  bool idle() const {
    return request.open && computed_ + in_step_ >= known_positions();
  }
  bool known_to_stage() const { return known_to_stage_; }

  void AddToken(int32_t id, Time now);

  // Before its first step: positions of whole kept blocks, first to last, are
  // not run but taken over.
  void BeginWith(std::vector<BlockHandle> prefix);
  Time arrived() const { return arrived_; }
  int64_t reused_positions() const { return reused_positions_; }
  // Positions whose keys and values were there when the whole request came.
  int64_t earlier_positions() const {
    return std::max(reused_positions_, ahead_positions_);
  }
  // The stage had no such blocks: as if it had never been in a step. It never
  // begins with a prefix again.
  void BeginAnew();
  bool begun_anew() const { return begun_anew_; }

  SequenceTimings Timings() const;

  // Kept by the sequencer.
  bool running = false;
  int64_t pages = 0;
  int64_t served = 0;        // Candidate::served
  bool row_is_late = false;  // of its newest token: nobody waits for it

 private:
  struct Window {
    int64_t first = 0;  // position
    kernels::Tensor rows;
  };

  void AddDigests(const SoftTokens& soft);
  void BeginToCount(Time now);
  void NoteIfStarved(Time now);
  void DropWindowsBefore(int64_t position);

  std::vector<int32_t> tokens_;
  std::vector<SoftTokens> soft_tokens_;     // of rows that are yet to be run
  std::map<int64_t, std::string> digests_;  // of all soft tokens, by position
  int64_t computed_ = 0;
  int64_t fetched_to_ = 0;
  int64_t in_step_ = 0;  // rows
  bool known_to_stage_ = false;
  std::vector<BlockHandle> prefix_;
  int64_t reused_positions_ = 0;
  int64_t ahead_positions_ = 0;  // that were run while it was open
  bool begun_anew_ = false;
  std::deque<Window> windows_;

  Time arrived_;
  std::optional<Time> first_step_, first_token_;
  Time last_step_;  // its end
  std::optional<Time> starved_since_;
  int64_t ple_wait_ns_ = 0;
  int64_t steps_ns_ = 0;
  int32_t steps_ = 0;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SEQUENCE_H_
