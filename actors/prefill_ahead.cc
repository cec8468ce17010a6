#include "actors/prefill_ahead.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "actors/media_request.h"
#include "actors/prompt_media.h"

namespace lapidary {

void PrefillAhead::Begin(std::shared_ptr<CallContext> context,
                         const Encode& encode) {
  if (!may_begin()) return;
  context_ = std::move(context);
  begun_ = asking_ = true;
  RequestFrom<EncoderActor, Encoded>(
      self_, *context_, "encoder", encode,
      [this, attempt = attempt_](const Encoded& encoded) {
        asking_ = false;
        if (attempt == attempt_ && begun_) TakeEncoded(encoded);
      });
}

void PrefillAhead::TakeEncoded(const Encoded& encoded) {
  if (!encoded.status.ok() || encoded.media.empty()) return Drop();
  submit_ = encoded.submit;
  for (size_t i = 0; i + 1 < encoded.media.size(); ++i) {
    const PromptMedium& medium = encoded.media[i];
    if (medium.rows.empty() ||
        !AddSoftTokens(medium, medium.rows, &submit_).ok()) {
      return Drop();
    }
  }
  const int64_t context = context_->model->config.text.max_position_embeddings;
  const auto prompt = static_cast<int64_t>(submit_.tokens.size());
  submit_.reserve_positions = static_cast<int32_t>(
      std::min(context, prompt + submit_.max_tokens - 1 + kSpareTokens));
  const int32_t sound = encoded.media.back().first_position;
  sound_token_ = submit_.tokens[sound];
  submit_.tokens.resize(sound);
  submit_.open = true;
  submit_.deadline_ns = submit_.time_limit_ns = 0;
  submit_.sequence = context_->next_sequence++;
  self_
      ->request(context_->directory, context_->role_timeout,
                Lookup{"sequencer"})
      .then(
          [this, attempt = attempt_](const caf::strong_actor_ptr& actor) {
            if (attempt != attempt_ || !begun_) return;
            if (actor == nullptr) return Drop();
            sequencer_ = caf::actor_cast<SequencerActor>(actor);
            Push();
          },
          [this, attempt = attempt_](caf::error&) {
            if (attempt == attempt_) Drop();
          });
}

void PrefillAhead::Take(const kernels::Tensor& rows) {
  if (!begun_ || sound_ended_) return;
  rows_.push_back(rows);
  waiting_ += rows.dim(0);
  if (sequencer_ != nullptr && waiting_ >= kRowsAtOnce) Push();
}

void PrefillAhead::Push() {
  for (; pushed_ < rows_.size(); ++pushed_) {
    const kernels::Tensor& rows = rows_[pushed_];
    submit_.soft_tokens.push_back(
        {static_cast<int32_t>(submit_.tokens.size()), rows});
    submit_.tokens.insert(submit_.tokens.end(), rows.dim(0), sound_token_);
  }
  waiting_ = 0;
  self_->request(sequencer_, context_->role_timeout, submit_)
      .then(
          [this, attempt = attempt_](const Accepted& accepted) {
            if (attempt == attempt_ && !accepted.status.ok()) Drop();
          },
          [this, attempt = attempt_](caf::error&) {
            if (attempt == attempt_) Drop();
          });
  submit_.soft_tokens.clear();
  submit_.goes_on = true;
}

void PrefillAhead::Check(const kernels::Tensor& rows) {
  if (sound_ended_) return;  // it is another sound
  sound_ended_ = true;
  int64_t row = 0;
  for (const kernels::Tensor& piece : rows_) {
    const size_t row_bytes = piece.bytes() / piece.dim(0);
    // A sound of several windows is cut where that was not foreseen.
    if (row + piece.dim(0) > rows.dim(0) ||
        std::memcmp(rows.data<std::byte>() + row * row_bytes,
                    piece.data<std::byte>(), piece.bytes()) != 0) {
      return Drop();
    }
    row += piece.dim(0);
  }
}

std::optional<BegunPrompt> PrefillAhead::Finish() {
  std::optional<BegunPrompt> begun;
  if (begun_ && sequencer_ != nullptr) {
    begun = BegunPrompt{sequencer_, submit_.sequence, submit_.sampling};
    sequencer_ = nullptr;
  }
  Drop();
  return begun;
}

void PrefillAhead::Drop() {
  if (begun_ && sequencer_ != nullptr) {
    self_->send(sequencer_, Cancel{submit_.sequence});
  }
  ++attempt_;
  begun_ = sound_ended_ = false;
  sequencer_ = nullptr;
  submit_ = {};
  rows_.clear();
  pushed_ = 0;
  waiting_ = 0;
}

void PrefillAhead::TakeEnded(const Ended& ended) {
  if (!begun_ || sequencer_ == nullptr || ended.sequence != submit_.sequence) {
    return;
  }
  sequencer_ = nullptr;  // pieces that are on their way are nothing to it
  Drop();
}

}  // namespace lapidary
