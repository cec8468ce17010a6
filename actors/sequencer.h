// Turns requests into steps: the queue, continuous batching, and the token
// history of every sequence. Losing it loses the running requests, which are
// told so.
//
// A request waits in the queue until there is a place in the batch and pages
// for its prompt and all its tokens; then its prompt's PLE rows are fetched,
// its prompt runs in chunks beside other sequences' steps, and every token that
// is drawn goes to its client at once. Sequences join and leave at any step.
//
//   waiting ──admit──► prompt rows fetched ──► prompt chunks ──► decoding
//      │                                                            │
//      └───────── cancelled, out of time, failed, finished ─────────┴─► Ended
//
// A prompt may come in pieces (Submit::open), each of which runs as it comes,
// while there is room that no whole prompt needs; the whole request then goes
// on from them.
//
// One step is on its way at any time. Light: does nothing that takes long.
#ifndef LAPIDARY_ACTORS_SEQUENCER_H_
#define LAPIDARY_ACTORS_SEQUENCER_H_

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/admission_queue.h"
#include "actors/batch_planner.h"
#include "actors/deadlines.h"
#include "actors/door.h"
#include "actors/event_log.h"
#include "actors/messages.h"
#include "actors/prefix_cache.h"
#include "actors/sequence.h"
#include "actors/step_clock.h"
#include "actors/step_cost.h"
#include "kernels/attention/kv_cache.h"

namespace lapidary {

// Names of the roles that the sequencer needs.
inline constexpr char kStageRole[] = "stage";
inline constexpr char kPleServerRole[] = "ple_server";

struct SequencerConfig {
  DirectoryActor directory;
  kernels::text::LayerRange layers;
  // Rows of the PLE table; ids beyond have its first.
  int32_t ple_tokens = std::numeric_limits<int32_t>::max();
  kernels::KvLayout kv_layout;  // the stage's
  int64_t prefix_pages = 0;     // at most, for prefixes; 0: none are kept
  BatchLimits batch;
  int max_running = 64;
  int max_queued = 1024;
  // Positions for which PLE rows are held or on their way; shared by all
  // prompts. One read asks for at most max_window of them.
  int64_t prompt_rows_ahead = 8192;
  int64_t max_window = 2048;
  std::chrono::seconds ple_timeout{30};
  // All wait so long for the rows of the tokens that were drawn together, which
  // costs less than a step without some; whose are then still missing sit out.
  std::chrono::milliseconds row_patience{250};
  // A stage that does not answer for so long is taken for lost.
  std::chrono::seconds step_timeout{300};
  EventLog log;
};

class SequencerState {
 public:
  explicit SequencerState(SequencerActor::pointer self) : self_(self) {}
  // Tells the clients of what was waiting or running.
  ~SequencerState();

  void Configure(SequencerConfig config);
  const SequencerConfig& config() const { return config_; }

  Accepted Enter(const Submit& submit, ClientActor client);
  void TakeCancel(const Cancel& cancel);
  void TakeRoleEvent(const RoleEvent& event,
                     const caf::strong_actor_ptr& actor);
  void TakeTick();
  void ClientDown(const caf::actor_addr& client);
  SequencerStatus Status() const;

 private:
  using Time = Sequence::Time;
  Time Now() const;

  // Pages that can be given back, waiting sequences into the batch, a step, and
  // rows for the next: whatever is due.
  void Advance();
  void Admit();
  // Of the prompts that run.
  int64_t LeastServed() const;
  int64_t DecodingSequences() const;
  int64_t PromptRowsUntil(int64_t rows) const;
  Inside LookInside(const Sequence& sequence) const;
  Refusal CheckDoor(const Sequence& sequence);
  void CountRefusal(RefusalReason reason);
  void CountEnd(const absl::Status& status);
  // Of an open sequence.
  Accepted GoOn(Sequence& sequence, const Submit& submit, ClientActor client);
  // A prompt that is still being made: its first piece.
  Accepted Open(const Submit& submit, ClientActor client);
  bool EndAnOpenOne();
  void Add(std::unique_ptr<Sequence> sequence);

  void FetchPromptRows(Sequence& sequence, int64_t window);
  void FetchTokenRows(const std::vector<SequenceId>& ids);
  void Read(std::vector<int32_t> ids, std::vector<SequenceId> sequences,
            int64_t first_position, std::chrono::milliseconds timeout);
  void GoOnWithout(const std::vector<SequenceId>& late);
  void TakeRows(const std::vector<SequenceId>& sequences,
                int64_t first_position, const PleRows& rows);
  int64_t WindowRows() const;

  void SendStep();
  void TakeStep(const StepResult& result);
  // False: the sequence has ended.
  bool TakeResult(Sequence& sequence, const StepRowsResult& result);
  void StageLost(const std::string& reason);

  void WatchDeadline(const Sequence& sequence);
  void ArmTick();

  Sequence* Find(SequenceId id);
  void BeginAnew(Sequence& sequence, BlockHandle missing);
  void End(SequenceId id, EndReason reason, absl::Status status);
  void FailAll(const absl::Status& status);
  void SendReleases();

  SequencerActor::pointer self_;
  SequencerConfig config_;
  StageActor stage_;  // null while there is none
  PleServerActor ple_server_;
  StageGauges gauges_;  // the stage's newest
  int64_t pages_reserved_ = 0;
  std::optional<PrefixCache> prefixes_;

  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  AdmissionQueue waiting_;
  Turnover turnover_;
  Door door_;
  std::vector<SequenceId> running_;  // in the order of admission
  Deadlines deadlines_;
  Time tick_at_ = Time::max();  // of the armed Tick

  uint64_t step_number_ = 0;
  bool step_on_its_way_ = false;
  StepClock step_clock_;
  StepShape step_shape_;  // of the step on its way
  StepCost cost_;
  std::vector<SequenceId> to_release_;

  SequencerStatus counters_;  // of it, those that only grow
};

SequencerActor::behavior_type Sequencer(
    SequencerActor::stateful_pointer<SequencerState> self,
    SequencerConfig config);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SEQUENCER_H_
