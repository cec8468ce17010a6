// The sequencer's door: who gets in, who waits, and who runs out of time.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/sequencer.h"

namespace lapidary {

int64_t SequencerState::DecodingSequences() const {
  return std::count_if(running_.begin(), running_.end(), [this](SequenceId id) {
    return sequences_.at(id)->decoding();
  });
}

// Rows of prompts that run before the last of `rows` rows would, if they came
// in now and all shared equally.
int64_t SequencerState::PromptRowsUntil(int64_t rows) const {
  int64_t until = rows;
  for (SequenceId id : running_) {
    const Sequence& sequence = *sequences_.at(id);
    if (sequence.decoding()) continue;
    until += std::min(rows, sequence.known_positions() - sequence.computed());
  }
  return until;
}

Inside SequencerState::LookInside(const Sequence& sequence) const {
  const Submit& request = sequence.request;
  const PromptKind kind = sequence.AsCandidate().kind;
  const int64_t rows =
      sequence.known_positions() - prefixes_->Reusable(sequence);
  const int64_t decoding = DecodingSequences();
  Inside inside;
  inside.idle = sequences_.empty();
  inside.waiting = waiting_.size();
  inside.max_waiting = config_.max_queued;
  inside.running = static_cast<int64_t>(running_.size());
  inside.ahead = waiting_.Ahead(request.priority, Now());
  // Whoever waits has taken what there was.
  if (waiting_.empty() &&
      pages_reserved_ + sequence.pages <= gauges_.pages_total) {
    inside.places = config_.max_running - static_cast<int64_t>(running_.size());
  }
  inside.place_interval_ns = turnover_.interval_ns();
  inside.prompts_ns =
      PromptNs(kind, PromptRowsUntil(rows), decoding, config_.batch, cost_);
  inside.alone_ns = PromptNs(kind, rows, 0, config_.batch, cost_);
  inside.token_ns = cost_.DecodeNs(decoding + 1);
  inside.alone_token_ns = cost_.DecodeNs(1);
  inside.pages_total = gauges_.pages_total;
  inside.page_bytes = gauges_.page_bytes;
  return inside;
}

Refusal SequencerState::CheckDoor(const Sequence& sequence) {
  const Submit& request = sequence.request;
  if (!stage_ || !ple_server_) {
    return {RefusalReason::kNone,
            absl::UnavailableError(
                absl::StrCat("no ", stage_ ? kPleServerRole : kStageRole,
                             " is alive; try again")),
            0};
  }
  if (sequences_.count(request.sequence) != 0) {
    return {RefusalReason::kNone,
            absl::AlreadyExistsError(absl::StrCat("sequence ", request.sequence,
                                                  " is running already")),
            0};
  }
  Needs needs;
  needs.positions = sequence.max_positions();
  needs.pages = sequence.pages;
  needs.deadline_ns = request.deadline_ns;
  needs.time_limit_ns = request.time_limit_ns;
  needs.min_tokens = request.min_tokens;
  return door_.Check(needs, LookInside(sequence));
}

void SequencerState::CountRefusal(RefusalReason reason) {
  ++counters_.refused;
  ScheduleStatus& schedule = counters_.schedule;
  switch (reason) {
    case RefusalReason::kNone:
      break;
    case RefusalReason::kTooLarge:
      ++schedule.refused_too_large;
      break;
    case RefusalReason::kQueueFull:
      ++schedule.refused_queue_full;
      break;
    case RefusalReason::kDeadline:
      ++schedule.refused_deadline;
      break;
  }
}

namespace {

absl::Status CheckSoftTokens(const Submit& submit) {
  int64_t next = 0;  // position that none has yet
  for (const SoftTokens& soft : submit.soft_tokens) {
    if (soft.rows.empty() || soft.rows.shape().size() != 2 ||
        soft.first_position < next ||
        soft.first_position + soft.rows.dim(0) >
            static_cast<int64_t>(submit.tokens.size())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "soft tokens from position ", soft.first_position, " on of ",
          submit.tokens.size(), " do not follow each other in the prompt"));
    }
    next = soft.first_position + soft.rows.dim(0);
  }
  return absl::OkStatus();
}

}  // namespace

Accepted SequencerState::Enter(const Submit& submit, ClientActor client) {
  const absl::Status soft_tokens = CheckSoftTokens(submit);
  if (!soft_tokens.ok()) return {soft_tokens, kNeverRetry};
  Sequence* const known = Find(submit.sequence);
  if (known != nullptr && known->request.open && !submit.only_asks) {
    return GoOn(*known, submit, std::move(client));
  }
  if (submit.open) return Open(submit, std::move(client));
  auto sequence = std::make_unique<Sequence>(submit, std::move(client), Now());
  sequence->pages = config_.kv_layout.PagesFor(sequence->max_positions());
  const Refusal door = CheckDoor(*sequence);
  if (!door.status.ok()) {
    CountRefusal(door.reason);
    return {door.status, door.retry_after_ns};
  }
  if (submit.only_asks) return {};
  ++counters_.accepted;
  Add(std::move(sequence));
  return {};
}

void SequencerState::Add(std::unique_ptr<Sequence> sequence) {
  const SequenceId id = sequence->request.sequence;
  self_->monitor(sequence->client);
  WatchDeadline(*sequence);
  Sequence& entered = *sequence;
  sequences_.emplace(id, std::move(sequence));
  waiting_.Push(id, entered.request.priority, Now());
  if (entered.finished_scoring()) End(id, EndReason::kScored, {});
  Advance();
}

Accepted SequencerState::GoOn(Sequence& sequence, const Submit& submit,
                              ClientActor client) {
  const caf::actor_addr before = sequence.client.address();
  const absl::Status status = sequence.GoOn(submit, std::move(client), Now());
  if (!status.ok()) return {status, kNeverRetry};
  self_->demonitor(before);
  self_->monitor(sequence.client);
  if (!submit.open) {
    ++counters_.accepted;
    WatchDeadline(sequence);
  }
  Advance();
  return {};
}

// Whoever speaks holds pages and a place for as long as he speaks: others who
// have all of their prompt come first (Admit), and half of all stays theirs. It
// is no request yet, so it is not counted as one, whatever comes of it.
Accepted SequencerState::Open(const Submit& submit, ClientActor client) {
  auto sequence = std::make_unique<Sequence>(submit, std::move(client), Now());
  sequence->pages = config_.kv_layout.PagesFor(sequence->max_positions());
  int64_t places = 1;
  int64_t pages = sequence->pages;
  for (SequenceId id : running_) {
    const Sequence& other = *sequences_.at(id);
    places += other.request.open ? 1 : 0;
    pages += other.request.open ? other.pages : 0;
  }
  if (submit.goes_on || Find(submit.sequence) != nullptr || !stage_ ||
      !ple_server_ || !waiting_.empty() || 2 * places > config_.max_running ||
      2 * pages > gauges_.pages_total ||
      static_cast<int>(running_.size()) >= config_.max_running ||
      pages_reserved_ + sequence->pages > gauges_.pages_total) {
    return {absl::ResourceExhaustedError(
                "there is no room to prefill a prompt before it is whole"),
            kNeverRetry};
  }
  Add(std::move(sequence));
  return {};
}

// False: there is none.
bool SequencerState::EndAnOpenOne() {
  for (SequenceId id : running_) {
    if (!sequences_.at(id)->request.open) continue;
    End(id, EndReason::kFailed,
        absl::ResourceExhaustedError("a whole prompt needs the place"));
    return true;
  }
  return false;
}

void SequencerState::Admit() {
  while (!waiting_.empty()) {
    Sequence& next = *sequences_.at(waiting_.front());
    // In order: a large request is not overtaken for ever by small ones.
    if (static_cast<int>(running_.size()) >= config_.max_running ||
        !prefixes_->Admit(next,
                          gauges_.pages_total - pages_reserved_ - next.pages)) {
      if (!EndAnOpenOne()) return;
      continue;
    }
    waiting_.Remove(waiting_.front());
    pages_reserved_ += next.pages;
    next.running = true;
    // It starts level with whoever had least: what others were served before
    // it came is no debt to it.
    next.served = LeastServed();
    running_.push_back(next.request.sequence);
  }
}

int64_t SequencerState::LeastServed() const {
  std::optional<int64_t> least;
  for (SequenceId id : running_) {
    const Sequence& sequence = *sequences_.at(id);
    if (sequence.decoding() || sequence.idle()) continue;
    least = std::min(least.value_or(sequence.served), sequence.served);
  }
  return least.value_or(0);
}

// --- Deadlines --------------------------------------------------------------

void SequencerState::WatchDeadline(const Sequence& sequence) {
  for (int64_t ns :
       {sequence.request.deadline_ns, sequence.request.time_limit_ns}) {
    if (ns > 0) {
      deadlines_.Add(sequence.request.sequence,
                     Now() + std::chrono::nanoseconds(ns));
    }
  }
  ArmTick();
}

void SequencerState::ArmTick() {
  if (deadlines_.next() >= tick_at_) return;
  tick_at_ = deadlines_.next();
  self_->delayed_send(self_, std::max(tick_at_ - Now(), Time::duration(0)),
                      Tick{});
}

void SequencerState::TakeTick() {
  tick_at_ = Time::max();
  while (const std::optional<SequenceId> id = deadlines_.Due(Now())) {
    const Submit& request = sequences_.at(*id)->request;
    const bool limit = request.time_limit_ns > 0 &&
                       (request.deadline_ns <= 0 ||
                        request.time_limit_ns < request.deadline_ns);
    if (limit) {
      End(*id, EndReason::kTimeLimit, {});
    } else {
      End(*id, EndReason::kFailed,
          absl::DeadlineExceededError("the call's deadline is over"));
    }
  }
  ArmTick();
  Advance();
}

// --- Status -----------------------------------------------------------------

SequencerStatus SequencerState::Status() const {
  SequencerStatus status = counters_;
  status.queued = static_cast<int32_t>(waiting_.size());
  status.running = static_cast<int32_t>(running_.size());
  status.stage = gauges_;
  status.prompt_steps = step_clock_.prompt_steps();
  status.decode_steps = step_clock_.decode_steps();
  ScheduleStatus& schedule = status.schedule;  // what was refused is in there
  schedule.queued_low = waiting_.count(Priority::kLow);
  schedule.queued_normal = waiting_.count(Priority::kNormal);
  schedule.queued_high = waiting_.count(Priority::kHigh);
  schedule.decode_step_ns =
      cost_.DecodeNs(std::max<int64_t>(1, DecodingSequences()));
  schedule.prompt_row_ns = cost_.PromptRowNs(PromptKind::kContinued, 0, true);
  schedule.prompt_row_alone_ns =
      cost_.PromptRowNs(PromptKind::kContinued, 0, false);
  schedule.place_interval_ns = turnover_.interval_ns();
  schedule.prompt_rows = cost_.widest_beside_decode();
  status.prefixes = prefixes_->Status();
  return status;
}

}  // namespace lapidary
