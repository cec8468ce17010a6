#include "actors/stream_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/media_request.h"
#include "actors/prompt_media.h"

namespace lapidary {
namespace {

// With 64 alternatives for each token a message stays well below gRPC's 4 MiB.
constexpr size_t kTokensPerMessage = 256;

double Milliseconds(int64_t ns) { return static_cast<double>(ns) / 1e6; }

double PerSecond(double count, int64_t ns) {
  return ns > 0 ? count * 1e9 / static_cast<double>(ns) : 0;
}

v1::Token ToProto(const TokenResult& token) {
  v1::Token proto;
  proto.set_id(token.id);
  if (token.logprob.has_value()) proto.set_logprob(*token.logprob);
  for (const kernels::TokenLogProb& other : token.top) {
    v1::TokenLogprob* top = proto.add_top();
    top->set_id(other.id);
    top->set_logprob(other.logprob);
  }
  return proto;
}

v1::Timings ToProto(const SequenceTimings& t, int32_t prompt_tokens,
                    int32_t completion_tokens) {
  v1::Timings timings;
  timings.set_queue_ms(Milliseconds(t.queue));
  timings.set_prefill_ms(Milliseconds(t.prefill));
  timings.set_decode_ms(Milliseconds(t.decode));
  timings.set_prefill_tokens_per_second(PerSecond(prompt_tokens, t.prefill));
  if (completion_tokens > 0) {
    timings.set_time_to_first_token_ms(Milliseconds(t.queue + t.prefill));
    timings.set_decode_tokens_per_second(
        PerSecond(completion_tokens - 1, t.decode));
  }
  timings.set_ple_ms(Milliseconds(t.ple_wait));
  const int64_t total = t.ple_wait + t.steps_total;
  if (total > 0) {
    timings.set_ple_share(static_cast<double>(t.ple_wait) /
                          static_cast<double>(total));
  }
  timings.set_steps(t.steps);
  return timings;
}

v1::StopReason ToProto(EndReason reason) {
  switch (reason) {
    case EndReason::kEos:
      return v1::STOP_REASON_EOS;
    case EndReason::kStopString:
      return v1::STOP_REASON_STOP_STRING;
    case EndReason::kMaxTokens:
      return v1::STOP_REASON_MAX_TOKENS;
    case EndReason::kTimeLimit:
      return v1::STOP_REASON_DEADLINE;
    case EndReason::kFailed:
    case EndReason::kScored:
      break;
  }
  return v1::STOP_REASON_UNSPECIFIED;
}

}  // namespace

StreamCallState::~StreamCallState() {
  if (stream_ == nullptr) return;
  End(absl::UnavailableError("the call's actor was lost"));
}

void StreamCallState::Begin(std::shared_ptr<CallContext> context,
                            CallRequest request,
                            std::shared_ptr<AnswerSink> stream) {
  context_ = std::move(context);
  request_ = std::move(request);
  stream_ = std::move(stream);
  task_ = request_.encode.task;
  arrived_ = self_->clock().now();
}

// --- In ---------------------------------------------------------------------

void StreamCallState::RequestEncoding() {
  encoding_ = true;
  auto failed = [this](caf::error& error) {
    encoding_ = false;
    if (abandoned_) return TakeDisconnected();
    End(absl::UnavailableError(absl::StrCat(
        "the request could not be encoded: ", self_->system().render(error))));
  };
  self_->request(context_->directory, context_->role_timeout, Lookup{"encoder"})
      .then(
          [this, failed](const caf::strong_actor_ptr& actor) {
            if (actor == nullptr) {
              encoding_ = false;
              End(absl::UnavailableError("no encoder is alive; try again"));
              return;
            }
            self_
                ->request(caf::actor_cast<EncoderActor>(actor),
                          context_->role_timeout, std::move(request_.encode))
                .then([this](const Encoded& encoded) { TakeEncoded(encoded); },
                      failed);
          },
          failed);
}

void StreamCallState::TakeEncoded(const Encoded& encoded) {
  encoding_ = false;
  if (abandoned_) return TakeDisconnected();
  if (!encoded.status.ok()) {
    End(encoded.status);
    return;
  }
  MeasureSounds(std::make_shared<Encoded>(encoded), {});
}

// A long sound is several in the prompt: only its samples say how many.
void StreamCallState::MeasureSounds(const std::shared_ptr<Encoded>& encoded,
                                    std::vector<int32_t> windows) {
  if (stream_ == nullptr) return;  // the client has gone
  const std::vector<PromptMedium>& media = encoded->media;
  while (windows.size() < media.size() &&
         !NeedsMeasuring(media[windows.size()])) {
    windows.push_back(1);
  }
  if (windows.size() < media.size()) {
    PromptMedium* next = &encoded->media[windows.size()];
    return RequestMeasure(self_, *context_, next, cancelled_,
                          [this, encoded, windows](const MeasuredSound& sound) {
                            if (!sound.status.ok()) return End(sound.status);
                            std::vector<int32_t> more = windows;
                            more.push_back(sound.windows);
                            MeasureSounds(encoded, std::move(more));
                          });
  }
  if (std::any_of(windows.begin(), windows.end(),
                  [](int32_t count) { return count > 1; })) {
    const absl::Status widened =
        WidenSounds(*context_->model, windows, encoded.get());
    if (!widened.ok()) return End(widened);
  }
  RequestSequencer(encoded);
}

void StreamCallState::RequestSequencer(
    const std::shared_ptr<Encoded>& encoded) {
  self_
      ->request(context_->directory, context_->role_timeout,
                Lookup{"sequencer"})
      .then(
          [this, encoded](const caf::strong_actor_ptr& actor) {
            if (actor == nullptr) {
              return End(
                  absl::UnavailableError("no sequencer is alive; try again"));
            }
            sequencer_ = caf::actor_cast<SequencerActor>(actor);
            if (encoded->media.empty()) return SubmitTo(encoded);
            // What has begun has had its place at the door.
            request_.begun.has_value() ? EncodeMedia(encoded, 0)
                                       : AskDoor(encoded);
          },
          [this](caf::error& error) {
            End(absl::UnavailableError(self_->system().render(error)));
          });
}

Submit StreamCallState::NewSubmit(const Encoded& encoded) const {
  Submit submit = encoded.submit;
  submit.age_ns =
      std::chrono::nanoseconds(self_->clock().now() - arrived_).count();
  if (submit.time_limit_ns > 0) {
    submit.time_limit_ns =
        std::max<int64_t>(1, submit.time_limit_ns - submit.age_ns);
  }
  // gRPC gives deadlines after the year 2262 as overflown, before 1970.
  constexpr std::chrono::system_clock::time_point kEpoch{};
  if (request_.deadline != std::chrono::system_clock::time_point::max() &&
      request_.deadline > kEpoch) {
    submit.deadline_ns = std::max<int64_t>(
        1, std::chrono::nanoseconds(request_.deadline -
                                    std::chrono::system_clock::now())
               .count());
  }
  return submit;
}

void StreamCallState::TakeAccepted(const Accepted& accepted) {
  if (accepted.status.ok()) return;
  End(accepted.status, accepted.retry_after_ns);
}

template <typename Taken>
void StreamCallState::Ask(Submit submit, Taken taken) {
  self_->request(sequencer_, context_->role_timeout, std::move(submit))
      .then(taken, [this](caf::error& error) {
        End(absl::UnavailableError(
            absl::StrCat("the sequencer did not take the request: ",
                         self_->system().render(error))));
      });
}

// --- Media ------------------------------------------------------------------

// Media cost more than anything else of a request: none is fetched or encoded
// for one that would be refused.
void StreamCallState::AskDoor(const std::shared_ptr<Encoded>& encoded) {
  if (stream_ == nullptr) return;  // the client has gone
  Submit question = NewSubmit(*encoded);
  question.only_asks = true;
  limit_prompt_tokens_ = static_cast<int32_t>(question.tokens.size());
  for (int64_t ns : {question.deadline_ns, question.time_limit_ns}) {
    if (ns <= 0) continue;
    const bool limit = ns == question.time_limit_ns;
    self_->delayed_send(self_, std::chrono::nanoseconds(ns), OutOfTime{limit});
  }
  Ask(std::move(question), [this, encoded](const Accepted& accepted) {
    TakeAccepted(accepted);
    EncodeMedia(encoded, 0);
  });
}

// Has the first of the media that are left encoded, and then the others: one
// by one, so that those of other requests come between.
void StreamCallState::EncodeMedia(const std::shared_ptr<Encoded>& encoded,
                                  size_t next) {
  if (stream_ == nullptr) return;  // refused, or the client has gone
  if (next == encoded->media.size()) return SubmitTo(encoded);
  const PromptMedium& medium = encoded->media[next];
  auto take = [this, encoded, next](const EncodedMedium& rows) {
    absl::Status status = rows.status;
    if (status.ok()) {
      status = AddSoftTokens(encoded->media[next], rows.rows, &encoded->submit);
    }
    if (!status.ok()) return End(status);
    EncodeMedia(encoded, next + 1);
  };
  if (!medium.rows.empty()) return take({absl::OkStatus(), medium.rows});
  RequestSoftTokens(self_, *context_, medium, cancelled_, take);
}

// Of a request whose media are not all encoded; after that the sequencer
// watches the time.
void StreamCallState::TakeOutOfTime(bool limit) {
  if (stream_ == nullptr || sequence_ != 0) return;
  if (!limit) {
    return End(absl::DeadlineExceededError("the call's deadline is over"));
  }
  Ended ended;
  ended.reason = EndReason::kTimeLimit;
  ended.prompt_tokens = limit_prompt_tokens_;
  ended.timings.queue =
      std::chrono::nanoseconds(self_->clock().now() - arrived_).count();
  text_.emplace(context_->model->tokenizer.get(), std::vector<std::string>());
  PushFinal(ended);
  End(absl::OkStatus());
}

// --- Sequencer --------------------------------------------------------------

void StreamCallState::DropBegun() {
  if (!request_.begun.has_value()) return;
  self_->send(request_.begun->sequencer, Cancel{request_.begun->sequence});
  request_.begun.reset();
}

void StreamCallState::SubmitTo(const std::shared_ptr<Encoded>& request) {
  if (stream_ == nullptr) return;  // the client has gone
  const Encoded& encoded = *request;
  Submit submit = NewSubmit(encoded);
  if (request_.begun.has_value() && request_.begun->sequencer == sequencer_) {
    submit.sequence = request_.begun->sequence;
    submit.sampling = request_.begun->sampling;
  } else {
    submit.sequence = context_->next_sequence++;
  }
  sequence_ = submit.sequence;
  seed_ = submit.sampling.seed;
  if (task_ == Task::kScore) {
    scored_prompt_ = static_cast<int32_t>(submit.tokens.size()) -
                     encoded.continuation_tokens;
    for (const SoftTokens& soft : submit.soft_tokens) {
      media_.emplace_back(
          soft.first_position,
          soft.first_position + static_cast<int32_t>(soft.rows.dim(0)));
    }
    v1::Token first;  // nothing comes before it, so it has no log-probability
    first.set_id(submit.tokens.front());
    pending_tokens_.push_back(std::move(first));
    ++tokens_;
  } else {
    text_.emplace(context_->model->tokenizer.get(), encoded.stop);
  }
  Ask(std::move(submit), [this, request](const Accepted& accepted) {
    if (accepted.status.ok()) {
      request_.begun.reset();  // it is the request's now
    } else if (request_.begun.has_value() &&
               (absl::IsFailedPrecondition(accepted.status) ||
                absl::IsOutOfRange(accepted.status))) {
      // It is another prompt than was foreseen.
      DropBegun();
      return SubmitTo(request);
    }
    TakeAccepted(accepted);
  });
}

// --- Out --------------------------------------------------------------------

bool StreamCallState::StandsForMedia(int32_t position) const {
  return std::any_of(media_.begin(), media_.end(), [&](const auto& image) {
    return image.first <= position && position < image.second;
  });
}

void StreamCallState::TakeToken(const TokenResult& token) {
  pending_tokens_.push_back(ToProto(token));
  if (task_ == Task::kScore) {
    if (!StandsForMedia(tokens_)) {
      double& sum =
          tokens_ < scored_prompt_ ? prompt_logprob_ : continuation_logprob_;
      sum += token.logprob.value_or(0);
    }
  } else {
    pending_text_ += text_->Push(token.id);
  }
  ++tokens_;
}

void StreamCallState::TakeProgress(const Progress& progress) {
  if (progress.sequence != sequence_ || stream_ == nullptr) return;
  for (const TokenResult& token : progress.tokens) {
    if (text_.has_value() && !text_->stop_met().empty()) break;
    TakeToken(token);
  }
  if (text_.has_value() && !text_->stop_met().empty()) {
    self_->send(sequencer_, Cancel{sequence_, /*complete=*/true});
  }
  PushPending(/*all=*/false);
}

void StreamCallState::PushPending(bool all) {
  while ((all || credits_ > 0) &&
         (!pending_tokens_.empty() || !pending_text_.empty())) {
    PushBlock();
  }
}

void StreamCallState::PushBlock() {
  const size_t count = std::min(pending_tokens_.size(), kTokensPerMessage);
  std::string message;
  const auto fill = [&](auto* tokens) {
    for (size_t i = 0; i < count; ++i) {
      *tokens->Add() = std::move(pending_tokens_.front());
      pending_tokens_.pop_front();
    }
  };
  if (task_ == Task::kScore) {
    v1::ScoreResponse response;
    fill(response.mutable_tokens());
    message = response.SerializeAsString();
  } else {
    v1::GenerateResponse response;
    fill(response.mutable_delta()->mutable_tokens());
    response.mutable_delta()->set_text(std::exchange(pending_text_, ""));
    message = response.SerializeAsString();
  }
  --credits_;
  stream_->Push(ToByteBuffer(message));
}

void StreamCallState::TakeEnded(const Ended& ended) {
  if (ended.sequence != sequence_ || stream_ == nullptr) return;
  if (!ended.status.ok()) {
    End(ended.status);
    return;
  }
  if (text_.has_value()) pending_text_ += text_->Flush();
  PushPending(/*all=*/true);
  PushFinal(ended);
  End(absl::OkStatus());
}

void StreamCallState::PushFinal(const Ended& ended) {
  if (task_ == Task::kScore) {
    v1::ScoreResponse response;
    v1::ScoreSummary* summary = response.mutable_summary();
    summary->mutable_usage()->set_prompt_tokens(scored_prompt_);
    summary->mutable_usage()->set_completion_tokens(ended.prompt_tokens -
                                                    scored_prompt_);
    *summary->mutable_timings() =
        ToProto(ended.timings, ended.prompt_tokens, 0);
    summary->set_prompt_logprob(prompt_logprob_);
    summary->set_continuation_logprob(continuation_logprob_);
    stream_->Push(ToByteBuffer(response.SerializeAsString()));
    return;
  }
  const std::string& met = text_->stop_met();
  v1::GenerateResponse response;
  v1::Final* final = response.mutable_final();
  // The stop string may have been met by the very token that ended it.
  final->set_stop_reason(met.empty() ? ToProto(ended.reason)
                                     : v1::STOP_REASON_STOP_STRING);
  final->set_stop_string(met);
  final->mutable_usage()->set_prompt_tokens(ended.prompt_tokens);
  final->mutable_usage()->set_completion_tokens(tokens_);
  final->mutable_usage()->set_cached_prompt_tokens(ended.cached_prompt_tokens);
  *final->mutable_timings() =
      ToProto(ended.timings, ended.prompt_tokens - ended.cached_prompt_tokens,
              ended.completion_tokens);
  final->set_seed(seed_);
  stream_->Push(ToByteBuffer(response.SerializeAsString()));
}

void StreamCallState::TakeCredit(int32_t messages) {
  credits_ += messages;
  if (stream_ != nullptr) PushPending(/*all=*/false);
}

void StreamCallState::End(const absl::Status& status, int64_t retry_after_ns) {
  if (stream_ == nullptr) return;
  *cancelled_ = true;  // an image that is being encoded for nobody
  DropBegun();
  std::exchange(stream_, nullptr)->End(ToGrpcStatus(status), retry_after_ns);
}

// From gRPC, in any case the last message but one: OnCancel, then OnDone.
void StreamCallState::TakeDisconnected() {
  // Its request is in the encoder's queue, and the call stands for it until it
  // no longer is: nobody fills the queue by calling and cancelling.
  abandoned_ = encoding_;
  if (abandoned_) return;
  if (stream_ != nullptr && sequence_ != 0) {
    self_->send(sequencer_, Cancel{sequence_});
  }
  End(absl::CancelledError("the client cancelled the call"));
  self_->quit();
}

StreamCallActor::behavior_type StreamCall(
    StreamCallActor::stateful_pointer<StreamCallState> self,
    std::shared_ptr<CallContext> context, CallRequest request,
    std::shared_ptr<AnswerSink> stream) {
  self->state.Begin(std::move(context), std::move(request), std::move(stream));
  return {
      [self](const Progress& progress) { self->state.TakeProgress(progress); },
      [self](const Ended& ended) { self->state.TakeEnded(ended); },
      [self](const Credit& credit) { self->state.TakeCredit(credit.messages); },
      [self](const Disconnected&) { self->state.TakeDisconnected(); },
      [self](const Start&) { self->state.RequestEncoding(); },
      [self](const OutOfTime& over) { self->state.TakeOutOfTime(over.limit); },
  };
}

}  // namespace lapidary
