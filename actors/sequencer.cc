#include "actors/sequencer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

// Of Read: not positions of a prompt, but each sequence's newest token.
constexpr int64_t kNewest = -1;

bool Erase(std::vector<SequenceId>& ids, SequenceId id) {
  auto it = std::find(ids.begin(), ids.end(), id);
  if (it == ids.end()) return false;
  ids.erase(it);
  return true;
}

bool HasRows(const kernels::Tensor& rows, int64_t count) {
  return !rows.empty() && rows.shape().size() == 3 && rows.dim(0) == count;
}

absl::Status Lost(absl::string_view role, absl::string_view reason) {
  return absl::UnavailableError(
      absl::StrCat("the ", role, " was lost (", reason,
                   ") and is being started again; send the request again"));
}

}  // namespace

SequencerState::~SequencerState() {
  for (const auto& [id, sequence] : sequences_) {
    Ended ended;
    ended.sequence = id;
    ended.status = Lost("sequencer", "it ended");
    caf::anon_send(sequence->client, std::move(ended));
  }
}

void SequencerState::Configure(SequencerConfig config) {
  config_ = std::move(config);
  counters_.max_queued = config_.max_queued;
  counters_.max_running = config_.max_running;
  prefixes_.emplace(config_.kv_layout, config_.prefix_pages);
}

SequencerState::Time SequencerState::Now() const {
  return self_->clock().now();
}

Sequence* SequencerState::Find(SequenceId id) {
  auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : it->second.get();
}

void SequencerState::Advance() {
  SendReleases();  // before a step that may need the pages
  if (!stage_ || !ple_server_) return;
  Admit();
  turnover_.Waiting(!waiting_.empty(), Now());
  const bool work =
      std::any_of(running_.begin(), running_.end(),
                  [this](SequenceId id) { return !sequences_.at(id)->idle(); });
  step_clock_.Batch(work, Now());
  if (!step_on_its_way_) SendStep();
  // After the step, so that the next window is read while this one is used.
  const int64_t window = WindowRows();
  for (SequenceId id : running_) {
    Sequence& sequence = *sequences_.at(id);
    if (!sequence.decoding()) FetchPromptRows(sequence, window);
  }
}

// --- PLE rows ---------------------------------------------------------------

int64_t SequencerState::WindowRows() const {
  int64_t prompts = 0;
  for (SequenceId id : running_) {
    const Sequence& sequence = *sequences_.at(id);
    if (!sequence.decoding() && !sequence.idle()) ++prompts;
  }
  if (prompts == 0) return config_.max_window;
  // Each prompt has one window in use and one on its way.
  const int64_t share = std::clamp<int64_t>(
      config_.prompt_rows_ahead / (2 * prompts), 1, config_.max_window);
  // A step's rows of one prompt come from one window: let it end with a block.
  return share < kRowBlock ? share : share - share % kRowBlock;
}

void SequencerState::FetchPromptRows(Sequence& sequence, int64_t window) {
  int64_t count = sequence.RowsToFetch(window);
  while (count > 0) {
    const int64_t first = sequence.fetched_to();
    sequence.FetchStarted(count, Now());
    Read(sequence.TokensAt(first, count), {sequence.request.sequence}, first,
         config_.ple_timeout);
    count = sequence.RowsToFetch(window);
  }
}

// Each sequence's newest token, for all of them in one read.
void SequencerState::FetchTokenRows(const std::vector<SequenceId>& ids) {
  if (ids.empty()) return;
  std::vector<int32_t> tokens;
  for (SequenceId id : ids) {
    Sequence& sequence = *sequences_.at(id);
    sequence.FetchStarted(1, Now());
    tokens.push_back(sequence.newest_token());
  }
  Read(std::move(tokens), ids, kNewest, config_.row_patience);
}

// The newest tokens' rows are late: whoever has drawn the same token is asked
// for anew, apart from others, and nobody waits for them any more. A sequence
// draws nothing before it has its row, so its newest token stays what it was.
void SequencerState::GoOnWithout(const std::vector<SequenceId>& late) {
  std::map<int32_t, std::vector<SequenceId>> by_token;
  for (SequenceId id : late) {
    Sequence* sequence = Find(id);
    if (sequence == nullptr) continue;  // it ended meanwhile
    sequence->row_is_late = true;
    by_token[sequence->newest_token()].push_back(id);
  }
  for (const auto& [token, ids] : by_token) {
    Read(std::vector<int32_t>(ids.size(), token), ids, kNewest,
         config_.ple_timeout);
  }
}

// Reads rows of one sequence's positions from `first_position` on, or, if that
// is kNewest, one row for each sequence's newest token.
void SequencerState::Read(std::vector<int32_t> ids,
                          std::vector<SequenceId> sequences,
                          int64_t first_position,
                          std::chrono::milliseconds timeout) {
  const auto count = static_cast<int64_t>(ids.size());
  // Soft tokens have the table's row 0 (gemma3n-text.md §4).
  for (int32_t& id : ids) {
    if (id >= config_.ple_tokens) id = 0;
  }
  self_->request(ple_server_, timeout, PleRead{std::move(ids), config_.layers})
      .then(
          [this, sequences, first_position, count](const PleRows& rows) {
            if (rows.status.ok() && !HasRows(rows.rows, count)) {
              TakeRows(sequences, first_position,
                       {absl::InternalError(
                            absl::StrCat("the PLE server answered ", count,
                                         " ids with ", rows.rows.ToString())),
                        {}});
            } else {
              TakeRows(sequences, first_position, rows);
            }
            Advance();
          },
          [this, sequences, first_position, timeout](caf::error& error) {
            if (error == caf::sec::request_timeout &&
                timeout < config_.ple_timeout) {
              GoOnWithout(sequences);
              return Advance();
            }
            TakeRows(sequences, first_position,
                     {absl::UnavailableError(
                          absl::StrCat("the ple_server did not answer (",
                                       self_->system().render(error),
                                       "); send the request again")),
                      {}});
            Advance();
          });
}

void SequencerState::TakeRows(const std::vector<SequenceId>& sequences,
                              int64_t first_position, const PleRows& rows) {
  const bool tokens = first_position == kNewest;
  if (rows.status.code() == absl::StatusCode::kDataLoss && tokens &&
      sequences.size() > 1) {
    // One damaged row fails a read; ask again for each, so that only its own
    // sequence suffers.
    for (SequenceId id : sequences) {
      if (Sequence* sequence = Find(id)) {
        Read({sequence->newest_token()}, {id}, kNewest, config_.row_patience);
      }
    }
    return;
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence* sequence = Find(sequences[i]);
    if (sequence == nullptr) continue;  // it ended meanwhile
    if (!rows.status.ok()) {
      End(sequences[i], EndReason::kFailed, rows.status);
    } else if (tokens) {
      const size_t row_bytes = rows.rows.bytes() / rows.rows.dim(0);
      kernels::Tensor row(rows.rows.dtype(),
                          {1, rows.rows.dim(1), rows.rows.dim(2)},
                          rows.rows.data<std::byte>() + i * row_bytes,
                          std::make_shared<kernels::Tensor>(rows.rows));
      sequence->row_is_late = false;
      sequence->RowsArrived(sequence->known_positions() - 1, std::move(row),
                            Now());
    } else {
      sequence->RowsArrived(first_position, rows.rows, Now());
    }
  }
}

// --- Steps ------------------------------------------------------------------

void SequencerState::SendStep() {
  std::vector<Candidate> candidates;
  for (SequenceId id : running_) {
    const Sequence& sequence = *sequences_.at(id);
    candidates.push_back(sequence.AsCandidate());
    // Its row is on its way, and soon here: a step without it would cost it a
    // whole step.
    if (sequence.decoding() && sequence.ready_rows() == 0 &&
        !sequence.row_is_late) {
      return;
    }
  }
  const std::vector<int64_t> rows = PlanStep(candidates, config_.batch, cost_);
  Step step;
  step.layers = config_.layers;
  bool has_prompt = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == 0) continue;
    has_prompt |= !candidates[i].decoding;
    Sequence& sequence = *sequences_.at(running_[i]);
    step.sequences.push_back(sequence.Take(rows[i], Now()));
    prefixes_->Plan(sequence, gauges_.pages_total - pages_reserved_,
                    &step.sequences.back());
  }
  if (step.sequences.empty()) return;
  prefixes_->PlanDrops(&step);
  step_shape_ = ShapeOf(candidates, rows);
  step.number = ++step_number_;
  step_on_its_way_ = true;
  step_clock_.Sent(std::accumulate(rows.begin(), rows.end(), int64_t{0}),
                   has_prompt, Now());
  self_->request(stage_, config_.step_timeout, std::move(step))
      .then([this](const StepResult& result) { TakeStep(result); },
            [this, number = step_number_, stage = stage_](caf::error& error) {
              if (number != step_number_ || !step_on_its_way_) return;
              // It ends when it comes back from its step, and its supervisor
              // starts another; until then the node answers UNAVAILABLE.
              self_->send_exit(stage, caf::exit_reason::kill);
              StageLost(self_->system().render(error));
            });
}

void SequencerState::TakeStep(const StepResult& result) {
  if (result.number != step_number_ || !step_on_its_way_) return;  // of another
  step_on_its_way_ = false;
  ++counters_.steps;
  step_clock_.Done(result, Now());
  gauges_ = result.gauges;
  // A sequence that failed was not computed.
  if (std::all_of(result.sequences.begin(), result.sequences.end(),
                  [](const StepRowsResult& r) { return r.status.ok(); })) {
    cost_.Learn(step_shape_, result.compute_ns);
  }
  std::vector<SequenceId> drawn;
  for (const StepRowsResult& rows : result.sequences) {
    prefixes_->Settle(rows);
    Sequence* sequence = Find(rows.sequence);
    if (sequence == nullptr) continue;  // it ended meanwhile
    if (rows.missing_block != 0 && sequence->reused_positions() > 0) {
      BeginAnew(*sequence, rows.missing_block);
      continue;
    }
    sequence->StepDone(result.compute_ns, Now());
    if (TakeResult(*sequence, rows) && rows.sampled.has_value()) {
      drawn.push_back(rows.sequence);
    }
  }
  FetchTokenRows(drawn);
  Advance();
}

bool SequencerState::TakeResult(Sequence& sequence,
                                const StepRowsResult& result) {
  const SequenceId id = result.sequence;
  if (!result.status.ok()) {
    End(id, EndReason::kFailed, result.status);
    return false;
  }
  Progress progress{id, result.scored};
  if (result.sampled.has_value()) {
    progress.tokens.push_back(*result.sampled);
    sequence.AddToken(result.sampled->id, Now());
    ++counters_.completion_tokens;
  }
  if (!progress.tokens.empty()) {
    self_->send(sequence.client, std::move(progress));
  }
  if (sequence.finished_scoring()) {
    End(id, EndReason::kScored, {});
    return false;
  }
  if (!result.sampled.has_value()) return true;
  const std::vector<int32_t>& eos = sequence.request.eos_ids;
  if (std::find(eos.begin(), eos.end(), result.sampled->id) != eos.end()) {
    End(id, EndReason::kEos, {});
    return false;
  }
  if (sequence.completion_tokens() >= sequence.request.max_tokens) {
    End(id, EndReason::kMaxTokens, {});
    return false;
  }
  return true;
}

// A stage lacks what the sequence was to begin with: it runs all of its prompt,
// as soon as there are pages for that.
void SequencerState::BeginAnew(Sequence& sequence, BlockHandle missing) {
  const SequenceId id = sequence.request.sequence;
  prefixes_->Missing(id, missing);
  if (sequence.request.open) {
    // It was taken only because it needed not wait.
    return End(id, EndReason::kFailed,
               absl::UnavailableError("what it began with is lost"));
  }
  sequence.BeginAnew();
  sequence.running = false;
  pages_reserved_ -= sequence.pages;
  Erase(running_, id);
  waiting_.Push(id, sequence.request.priority, sequence.arrived());
}

// --- Out --------------------------------------------------------------------

void SequencerState::CountEnd(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      ++counters_.completed;
      break;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      ++counters_.cancelled;
      break;
    default:
      ++counters_.failed;
  }
}

void SequencerState::End(SequenceId id, EndReason reason, absl::Status status) {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  const Sequence& sequence = *it->second;
  const bool finished = status.ok();
  if (!sequence.request.open) CountEnd(status);
  counters_.prompt_tokens +=
      std::min<int64_t>(sequence.computed(), sequence.request.tokens.size());
  Ended ended;
  ended.sequence = id;
  ended.reason = reason;
  ended.status = std::move(status);
  ended.prompt_tokens = static_cast<int32_t>(sequence.request.tokens.size());
  ended.completion_tokens = sequence.completion_tokens();
  ended.cached_prompt_tokens =
      static_cast<int32_t>(sequence.earlier_positions());
  ended.timings = sequence.Timings();
  self_->demonitor(sequence.client.address());
  self_->send(sequence.client, std::move(ended));
  if (sequence.running) {
    pages_reserved_ -= sequence.pages;
    prefixes_->Leave(id);
    Erase(running_, id);
    // Dropping requests is no pace at which others can be served.
    if (finished) turnover_.Freed(Now());
    door_.Freed();
    if (sequence.known_to_stage()) to_release_.push_back(id);
  } else {
    waiting_.Remove(id);
  }
  deadlines_.Remove(id);
  sequences_.erase(it);
}

void SequencerState::SendReleases() {
  if (to_release_.empty() || !stage_) return;
  Release release;
  release.sequences.swap(to_release_);
  self_->request(stage_, config_.step_timeout, std::move(release))
      .then([this](const StageGauges& gauges) { gauges_ = gauges; },
            [](caf::error&) {});  // a stage that is lost holds nothing
}

void SequencerState::FailAll(const absl::Status& status) {
  while (!sequences_.empty()) {
    End(sequences_.begin()->first, EndReason::kFailed, status);
  }
}

void SequencerState::TakeCancel(const Cancel& cancel) {
  if (cancel.complete) {
    End(cancel.sequence, EndReason::kStopString, {});
  } else {
    End(cancel.sequence, EndReason::kFailed,
        absl::CancelledError("the client cancelled the call"));
  }
  Advance();
}

void SequencerState::ClientDown(const caf::actor_addr& client) {
  std::vector<SequenceId> gone;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->client.address() == client) gone.push_back(id);
  }
  for (SequenceId id : gone) {
    End(id, EndReason::kFailed, absl::CancelledError("the client is gone"));
  }
  Advance();
}

// --- Roles ------------------------------------------------------------------

void SequencerState::TakeRoleEvent(const RoleEvent& event,
                                   const caf::strong_actor_ptr& actor) {
  if (event.role == kPleServerRole) {
    ple_server_ = caf::actor_cast<PleServerActor>(actor);
    if (!event.alive) FailAll(Lost(kPleServerRole, event.reason));
    SendReleases();
  } else if (event.role == kStageRole) {
    if (!event.alive) {
      StageLost(event.reason);
      return;
    }
    stage_ = caf::actor_cast<StageActor>(actor);
    gauges_ = event.gauges;
    prefixes_->Clear();
    // It may hold what an earlier sequencer ran.
    self_->request(stage_, config_.step_timeout, Release{{}, true})
        .then([this](const StageGauges& gauges) { gauges_ = gauges; },
              [](caf::error&) {});
  }
}

void SequencerState::StageLost(const std::string& reason) {
  stage_ = nullptr;
  step_on_its_way_ = false;
  step_clock_.Lost();
  gauges_ = StageGauges();
  FailAll(Lost(kStageRole, reason));
  to_release_.clear();  // it took its pages with it
  prefixes_->Clear();
}

SequencerActor::behavior_type Sequencer(
    SequencerActor::stateful_pointer<SequencerState> self,
    SequencerConfig config) {
  self->state.Configure(std::move(config));
  self->set_down_handler(
      [self](caf::down_msg& down) { self->state.ClientDown(down.source); });
  return {
      [self](const RoleEvent& event, const caf::strong_actor_ptr& actor) {
        self->state.TakeRoleEvent(event, actor);
      },
      [self](const Start&) -> caf::result<Started> {
        self->send(self->state.config().directory, Subscribe{});
        return Started{};
      },
      [self](const Submit& submit) -> caf::result<Accepted> {
        return self->state.Enter(
            submit, caf::actor_cast<ClientActor>(self->current_sender()));
      },
      [self](const Cancel& cancel) { self->state.TakeCancel(cancel); },
      [self](const Tick&) { self->state.TakeTick(); },
      [self](const StatusQuery&) -> caf::result<SequencerStatus> {
        return self->state.Status();
      },
  };
}

}  // namespace lapidary
