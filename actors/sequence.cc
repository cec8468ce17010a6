#include "actors/sequence.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/attention/kv_cache.h"

namespace lapidary {
namespace {

// A high prompt gets twice the rows of a normal one, and that twice those of a
// low one.
int64_t RowCharge(Priority priority) {
  return int64_t{1} << (static_cast<int>(Priority::kHigh) -
                        static_cast<int>(priority));
}

int64_t Nanoseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::nanoseconds(duration).count();
}

// Rows [first, first + count) of a tensor [rows][…], over its bytes.
kernels::Tensor SliceRows(const kernels::Tensor& rows, int64_t first,
                          int64_t count) {
  const size_t row_bytes = rows.bytes() / rows.dim(0);
  std::vector<int64_t> shape = rows.shape();
  shape[0] = count;
  return kernels::Tensor(rows.dtype(), std::move(shape),
                         rows.data<std::byte>() + first * row_bytes,
                         std::make_shared<const kernels::Tensor>(rows));
}

std::string Sha256(const float* row, int64_t count) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  EVP_Digest(row, count * sizeof(float), digest.data(), &size, EVP_sha256(),
             nullptr);
  return {digest.begin(), digest.begin() + size};
}

// Those of positions from `first` on; none: rows is empty.
SoftTokens From(int64_t first, const SoftTokens& soft) {
  const int64_t skipped =
      std::clamp<int64_t>(first - soft.first_position, 0, soft.rows.dim(0));
  if (skipped == 0) return soft;
  if (skipped == soft.rows.dim(0)) return {};
  return {static_cast<int32_t>(first),
          SliceRows(soft.rows, skipped, soft.rows.dim(0) - skipped)};
}

Submit WithoutSoftTokens(Submit submit) {
  submit.soft_tokens.clear();
  return submit;
}

}  // namespace

Sequence::Sequence(const Submit& submit, ClientActor from, Time now)
    : request(WithoutSoftTokens(submit)),
      client(std::move(from)),
      tokens_(submit.tokens),
      soft_tokens_(submit.soft_tokens),
      arrived_(now - std::chrono::nanoseconds(submit.age_ns)),
      last_step_(now) {
  for (const SoftTokens& soft : soft_tokens_) AddDigests(soft);
}

void Sequence::AddDigests(const SoftTokens& soft) {
  if (request.no_prefix_cache || request.task != Task::kGenerate) return;
  const int64_t width = soft.rows.dim(1);
  for (int64_t row = 0; row < soft.rows.dim(0); ++row) {
    digests_[soft.first_position + row] =
        Sha256(soft.rows.data<float>() + row * width, width);
  }
}

absl::Status Sequence::GoOn(const Submit& submit, ClientActor from, Time now) {
  const auto before = static_cast<int64_t>(tokens_.size());
  const auto after = static_cast<int64_t>(submit.tokens.size());
  if (after < before + (submit.open ? 0 : 1) ||
      !std::equal(tokens_.begin(), tokens_.end(), submit.tokens.begin())) {
    return absl::FailedPreconditionError(
        absl::StrCat("a prompt of ", after, " tokens does not go on from the ",
                     before, " that have been prefilled"));
  }
  const int64_t reserved = max_positions();
  if (after + submit.max_tokens - 1 > reserved) {
    return absl::OutOfRangeError(absl::StrCat(
        "a prompt of ", after, " tokens and an answer of ", submit.max_tokens,
        " do not fit the ", reserved, " positions that were reserved"));
  }
  request = WithoutSoftTokens(submit);
  request.reserve_positions = static_cast<int32_t>(reserved);
  client = std::move(from);
  tokens_ = submit.tokens;
  for (const SoftTokens& given : submit.soft_tokens) {
    SoftTokens soft = From(before, given);
    if (soft.rows.empty()) continue;
    AddDigests(soft);
    soft_tokens_.push_back(std::move(soft));
  }
  if (!request.open) BeginToCount(now);
  return absl::OkStatus();
}

// What happened while it was open is nothing that its client has waited for.
void Sequence::BeginToCount(Time now) {
  ahead_positions_ = computed_ + in_step_;
  arrived_ = now - std::chrono::nanoseconds(request.age_ns);
  first_step_.reset();
  steps_ = 0;
  steps_ns_ = ple_wait_ns_ = 0;
  if (starved_since_.has_value()) starved_since_ = now;
}

int64_t Sequence::max_positions() const {
  if (request.reserve_positions > 0) return request.reserve_positions;
  // The last token, drawn or scored, is never run.
  return static_cast<int64_t>(request.tokens.size()) + request.max_tokens - 1;
}

int64_t Sequence::known_positions() const {
  const auto size = static_cast<int64_t>(tokens_.size());
  return request.task == Task::kScore ? size - 1 : size;
}

bool Sequence::decoding() const {
  return tokens_.size() > request.tokens.size();
}

bool Sequence::finished_scoring() const {
  return request.task == Task::kScore && computed_ == known_positions();
}

int32_t Sequence::completion_tokens() const {
  return static_cast<int32_t>(tokens_.size() - request.tokens.size());
}

std::vector<int32_t> Sequence::TokensAt(int64_t first, int64_t count) const {
  return {tokens_.begin() + first, tokens_.begin() + first + count};
}

const std::string* Sequence::SoftTokenDigest(int64_t position) const {
  const auto it = digests_.find(position);
  return it == digests_.end() ? nullptr : &it->second;
}

int64_t Sequence::RowsToFetch(int64_t window) const {
  // One window is read while another is being used up.
  if (fetched_to_ - computed_ - in_step_ >= window) return 0;
  return std::min(window, known_positions() - fetched_to_);
}

void Sequence::FetchStarted(int64_t count, Time now) {
  fetched_to_ += count;
  NoteIfStarved(now);
}

void Sequence::RowsArrived(int64_t first, kernels::Tensor rows, Time now) {
  // A PLE server has several readers, so answers come in any order.
  auto after =
      std::find_if(windows_.begin(), windows_.end(),
                   [&](const Window& window) { return window.first > first; });
  windows_.insert(after, {first, std::move(rows)});
  DropWindowsBefore(computed_ + in_step_);
  if (starved_since_.has_value() && ready_rows() > 0) {
    ple_wait_ns_ += Nanoseconds(now - *starved_since_);
    starved_since_.reset();
  }
}

int64_t Sequence::ready_rows() const {
  if (windows_.empty() || in_step()) return 0;
  const Window& window = windows_.front();
  if (window.first > computed_) return 0;
  return window.first + window.rows.dim(0) - computed_;
}

Candidate Sequence::AsCandidate() const {
  Candidate candidate;
  candidate.decoding = decoding();
  candidate.ready_rows = ready_rows();
  candidate.kind = request.task == Task::kScore ? PromptKind::kScored
                                                : PromptKind::kContinued;
  candidate.position = computed_;
  candidate.served = served;
  candidate.row_charge = RowCharge(request.priority);
  return candidate;
}

StepRows Sequence::Take(int64_t rows, Time now) {
  if (!first_step_.has_value()) first_step_ = now;
  const int64_t end = computed_ + rows;
  StepRows step;
  step.sequence = request.sequence;
  step.first_position = static_cast<int32_t>(computed_);
  step.token_ids = TokensAt(computed_, rows);
  const Window& window = windows_.front();
  step.ple_rows = SliceRows(window.rows, computed_ - window.first, rows);
  DropWindowsBefore(end);
  for (const SoftTokens& soft : soft_tokens_) {
    if (soft.first_position < end &&
        soft.first_position + soft.rows.dim(0) > computed_) {
      step.soft_tokens.push_back(soft);
    }
  }
  if (!known_to_stage_) {
    step.start = SequenceStart{max_positions(), request.sampling, 0, prefix_,
                               TokensAt(0, reused_positions_)};
    known_to_stage_ = true;
  }
  step.top_logprobs = request.top_logprobs;
  if (request.task == Task::kScore) {
    step.targets = TokensAt(computed_ + 1, rows);
    step.top_logprobs = std::max(request.top_logprobs, 0);
  } else {
    step.is_prompt = !decoding();
    step.sample = end == known_positions() && !request.open;
  }
  in_step_ = rows;
  if (!decoding()) served += rows * RowCharge(request.priority);
  return step;
}

void Sequence::StepDone(int64_t compute_ns, Time now) {
  computed_ += in_step_;
  in_step_ = 0;
  while (!soft_tokens_.empty() && soft_tokens_.front().first_position +
                                          soft_tokens_.front().rows.dim(0) <=
                                      computed_) {
    soft_tokens_.erase(soft_tokens_.begin());
  }
  steps_ns_ += compute_ns;
  ++steps_;
  last_step_ = now;
  NoteIfStarved(now);
}

void Sequence::AddToken(int32_t id, Time now) {
  if (!first_token_.has_value()) first_token_ = now;
  tokens_.push_back(id);
}

void Sequence::BeginWith(std::vector<BlockHandle> prefix) {
  prefix_ = std::move(prefix);
  reused_positions_ =
      static_cast<int64_t>(prefix_.size()) * kernels::kKvPagePositions;
  computed_ = reused_positions_;
  fetched_to_ = reused_positions_;
}

void Sequence::BeginAnew() {
  // Rows that have been asked for still arrive; they are those of their
  // positions, whenever these come round again.
  BeginWith({});
  ahead_positions_ = 0;
  in_step_ = 0;
  known_to_stage_ = false;
  begun_anew_ = true;
}

// A sequence that began anew gets some rows twice.
void Sequence::DropWindowsBefore(int64_t position) {
  while (!windows_.empty() &&
         windows_.front().first + windows_.front().rows.dim(0) <= position) {
    windows_.pop_front();
  }
}

void Sequence::NoteIfStarved(Time now) {
  if (starved_since_.has_value() || in_step() || ready_rows() > 0) return;
  if (computed_ < known_positions()) starved_since_ = now;
}

SequenceTimings Sequence::Timings() const {
  SequenceTimings timings;
  if (steps_ == 0 || !first_step_.has_value()) return timings;
  timings.queue = Nanoseconds(*first_step_ - arrived_);
  const Time prefilled = first_token_.value_or(last_step_);
  timings.prefill = Nanoseconds(prefilled - *first_step_);
  timings.decode = std::max<int64_t>(0, Nanoseconds(last_step_ - prefilled));
  timings.steps_total = steps_ns_;
  timings.ple_wait = ple_wait_ns_;
  timings.steps = steps_;
  return timings;
}

}  // namespace lapidary
