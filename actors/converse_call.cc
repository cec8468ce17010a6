#include "actors/converse_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/media_request.h"
#include "actors/open_conversations.h"

namespace lapidary {
namespace {

using std::chrono::steady_clock;

// Progress is left out rather than queued for a client that does not read.
constexpr size_t kMostQueued = 16;

double Seconds(int64_t samples) {
  return static_cast<double>(samples) / kSoundRate;
}

double MillisecondsBetween(steady_clock::time_point from,
                           steady_clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// The call that answers a turn writes here.
class TurnSink : public AnswerSink {
 public:
  TurnSink(ConverseActor conversation, uint64_t turn)
      : conversation_(std::move(conversation)), turn_(turn) {}

  bool Push(grpc::ByteBuffer message) override {
    caf::anon_send(conversation_, TurnMessage{turn_, ToString(message)});
    return true;
  }
  void End(grpc::Status status, int64_t retry_after_ns) override {
    TurnEnded ended;
    ended.turn = turn_;
    ended.status =
        absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                     status.error_message());
    ended.retry_after_ns = retry_after_ns;
    caf::anon_send(conversation_, ended);
  }

 private:
  const ConverseActor conversation_;
  const uint64_t turn_;
};

absl::Status CheckRange(const char* field, double value, double min,
                        double max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, " is ", value, ", it must be in [", min, ", ", max, "]"));
}

absl::StatusOr<PcmFormat> ReadFormat(const v1::PcmFormat& pcm) {
  PcmFormat format;
  switch (pcm.encoding()) {
    case v1::PcmFormat::ENCODING_UNSPECIFIED:
    case v1::PcmFormat::ENCODING_S16:
      break;
    case v1::PcmFormat::ENCODING_F32:
      format.encoding = PcmFormat::Encoding::kF32;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "start.pcm.encoding is ", static_cast<int>(pcm.encoding()),
          ", it must be ENCODING_S16 (1) or ENCODING_F32 (2)"));
  }
  if (pcm.rate() != 0) format.rate = pcm.rate();
  if (pcm.channels() != 0) format.channels = pcm.channels();
  const SoundLimits limits;
  absl::Status status = CheckRange("start.pcm.rate", format.rate,
                                   limits.min_rate, limits.max_rate);
  if (status.ok()) {
    status = CheckRange("start.pcm.channels", format.channels, 1,
                        limits.max_channels);
  }
  if (!status.ok()) return status;
  return format;
}

absl::Status OutOfOrder(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(
      what, " came after end_of_turn; until the turn's `done` has come only ",
      "cancel may be sent"));
}

}  // namespace

// Others see that the actor has gone, and free what they hold for it.
ConverseCallState::~ConverseCallState() {
  if (cancelled_ != nullptr) *cancelled_ = true;
  if (stream_ == nullptr) return;
  stream_->End(
      ToGrpcStatus(absl::UnavailableError("the conversation's actor was lost")),
      0);
}

void ConverseCallState::Begin(std::shared_ptr<CallContext> context,
                              std::chrono::system_clock::time_point deadline,
                              std::shared_ptr<ConverseStream> stream) {
  context_ = std::move(context);
  deadline_ = deadline;
  stream_ = std::move(stream);
}

void ConverseCallState::Open() {
  StartTurn();
  phase_ = Phase::kStart;
  heard_ = self_->clock().now();
  self_->delayed_send(self_, idle_, SilenceCheck{});
  Read();
}

// --- The client -------------------------------------------------------------

void ConverseCallState::Read() {
  if (stream_ == nullptr || client_done_ || EndedByShutdown() || reading_) {
    return;
  }
  // A client that only sends fills nothing but its own side.
  read_later_ = pushed_.size() >= kMostQueued;
  if (read_later_) return;
  reading_ = true;
  heard_ = self_->clock().now();
  stream_->Read();
}

void ConverseCallState::TakeNodeShutsDown() {
  shuts_down_ = true;
  // Otherwise something that came is under way, and Read follows.
  if (reading_ || read_later_) EndedByShutdown();
}

// Whether the conversation has ended because the node is about to.
bool ConverseCallState::EndedByShutdown() {
  if (!shuts_down_ || stream_ == nullptr) return false;
  const bool idle =
      phase_ == Phase::kStart || (phase_ == Phase::kTaking && TurnIsIdle());
  if (idle) End(ShutsDown());
  return idle;
}

void ConverseCallState::CheckSilence() {
  if (stream_ == nullptr) return;
  const bool unread = !pushed_.empty();  // by the client, of ours
  const bool waits =
      unread ||
      (reading_ && (phase_ == Phase::kStart || phase_ == Phase::kTaking));
  const Time now = self_->clock().now();
  if (unread && now - heard_ >= idle_) {
    std::exchange(stream_, nullptr)->Abandon();
    Release();
    ++turn_number_;
    return;
  }
  if (waits && now - heard_ >= idle_) {
    return End(absl::DeadlineExceededError(
        absl::StrCat("the client has sent nothing for ", idle_.count(),
                     " ms; send chunks, silence too, or a longer "
                     "start.idle_timeout_ms")));
  }
  const auto next = waits ? heard_ + idle_ - now : Time::duration(idle_);
  self_->delayed_send(self_, next, SilenceCheck{});
}

void ConverseCallState::TakeMessage(const ClientMessage& message) {
  reading_ = false;
  if (stream_ == nullptr) return;
  if (!message.request->ok()) return End(message.request->status());
  const v1::ConverseRequest& request = **message.request;
  const bool start = request.event_case() == v1::ConverseRequest::kStart;
  if (start != (phase_ == Phase::kStart)) {
    return End(absl::FailedPreconditionError(
        start ? "start came twice" : "the first message must be start"));
  }
  if (done_told_ && !request.has_cancel()) {
    held_ = message;
    return;
  }
  const bool open = phase_ == Phase::kTaking;
  switch (request.event_case()) {
    case v1::ConverseRequest::kStart:
      return TakeStart(request.start());
    case v1::ConverseRequest::kPcm:
      if (!open && endpointing_) return Read();
      if (!open) return End(OutOfOrder("pcm"));
      return TakePcm(request.pcm());
    case v1::ConverseRequest::kPart:
      if (!open) return End(OutOfOrder("part"));
      return TakePart(
          std::shared_ptr<const v1::Part>(message.request, &request.part()));
    case v1::ConverseRequest::kEndOfTurn:
      if (!open && endpointing_) return Read();
      if (!open) return End(OutOfOrder("another end_of_turn"));
      EndTurn();
      return Read();
    case v1::ConverseRequest::kCancel:
      return TakeCancel(request.cancel());
    case v1::ConverseRequest::EVENT_NOT_SET:
      break;
  }
  End(absl::InvalidArgumentError(
      "a message is empty; give it start, pcm, part, end_of_turn or cancel"));
}

// What the client has sent before it stopped is a turn as well.
void ConverseCallState::TakeClientDone() {
  reading_ = false;
  client_done_ = true;
  if (stream_ == nullptr) return;
  if (phase_ == Phase::kStart) {
    return End(absl::InvalidArgumentError("the first message must be start"));
  }
  if (phase_ != Phase::kTaking) return;
  if (TurnIsIdle()) return End(absl::OkStatus());
  EndTurn();
}

void ConverseCallState::TakeStart(const v1::ConverseStart& start) {
  absl::StatusOr<PcmFormat> format = ReadFormat(start.pcm());
  absl::Status status = format.status();
  if (status.ok() && start.has_idle_timeout_ms()) {
    status = CheckRange("start.idle_timeout_ms", start.idle_timeout_ms(), 100,
                        600000);
    idle_ = std::chrono::milliseconds(start.idle_timeout_ms());
  }
  early_prefill_ = start.early_prefill();
  omit_padding_ = start.omit_padding();
  endpointing_ = start.has_endpointing();
  if (status.ok() && endpointing_) {
    const v1::Endpointing& ends = start.endpointing();
    const double ms = ends.silence_ms() == 0 ? 800 : ends.silence_ms();
    if (ends.threshold_db() != 0) loud_db_ = ends.threshold_db();
    silence_samples_ = static_cast<int64_t>(ms * kSoundRate / 1000);
    status = CheckRange("start.endpointing.silence_ms", ms, 100, 10000);
    if (status.ok()) {
      status = CheckRange("start.endpointing.threshold_db", loud_db_, -90, -1);
    }
  }
  const v1::Prompt& prompt = start.request().prompt();
  if (status.ok() && prompt.input_case() != v1::Prompt::kChat &&
      prompt.input_case() != v1::Prompt::INPUT_NOT_SET) {
    status = absl::InvalidArgumentError(
        "start.request.prompt must be a chat, or left out");
  }
  if (!status.ok()) return End(status);
  format_ = *format;
  conversation_.Begin(start.request(), context_->conversation_bytes);
  phase_ = Phase::kTaking;
  self_->delayed_send(self_, idle_, SilenceCheck{});
  // All that can be wrong with the request is found before anything is sent: it
  // is checked with another prompt.
  v1::GenerateRequest probe = start.request();
  probe.mutable_prompt()->mutable_ids()->add_ids(0);
  RequestFrom<EncoderActor, Encoded>(
      self_, *context_, "encoder",
      Encode{Task::kGenerate, probe.SerializeAsString(), {}},
      ForThisTurn<Encoded>([this](const Encoded& encoded) {
        if (!encoded.status.ok()) return End(encoded.status);
        Read();
      }));
}

// --- Turns ------------------------------------------------------------------

void ConverseCallState::StartTurn() {
  phase_ = Phase::kTaking;
  ++turn_number_;
  turn_ = {};
  cancelled_ = std::make_shared<std::atomic<bool>>(false);
  cancelling_ = done_told_ = false;
  text_bytes_ = 0;
  taken_ = earlier_ = told_ = {};
  first_token_at_.reset();
}

bool ConverseCallState::TurnIsEmpty() const {
  return sound_ == 0 && earlier_.samples == 0 && turn_.message.parts().empty();
}

// Who lets turns end by silence has not asked anything by silence.
bool ConverseCallState::TurnIsIdle() const {
  return TurnIsEmpty() ||
         (endpointing_ && taken_.loud_to == 0 && earlier_.samples == 0);
}

void ConverseCallState::EndTurn() {
  phase_ = Phase::kEnding;
  ended_at_ = self_->clock().now();
  CloseSound([this] {
    encoded_at_ = self_->clock().now();
    if (turn_.message.parts().empty()) {
      return End(absl::InvalidArgumentError(
          "the turn is empty; send pcm or a part before end_of_turn"));
    }
    PushProgress(/*end_of_turn=*/true);
    Answer();
  });
}

void ConverseCallState::Answer() {
  phase_ = Phase::kAnswering;
  CallRequest call{conversation_.RequestFor(turn_), deadline_, ahead_.Finish()};
  answer_ = self_->spawn<caf::linked>(
      StreamCall, context_, std::move(call),
      std::make_shared<TurnSink>(ConverseActor(self_), turn_number_));
  self_->send(answer_, Start{});
}

void ConverseCallState::TakeTurnMessage(const TurnMessage& message) {
  if (message.turn != turn_number_ || stream_ == nullptr) return;
  v1::GenerateResponse response;
  response.ParseFromString(message.response);
  if (response.has_final()) {
    ConverseTurn turn = turn_;
    conversation_.Remember(std::move(turn));
    return PushDone(std::move(*response.mutable_final()));
  }
  if (!first_token_at_.has_value()) first_token_at_ = self_->clock().now();
  turn_.answer += response.delta().text();
  v1::ConverseResponse out;
  out.mutable_delta()->Swap(response.mutable_delta());
  Push(out, /*of_turn=*/true);
}

void ConverseCallState::TakeTurnEnded(const TurnEnded& ended) {
  if (ended.turn != turn_number_ || stream_ == nullptr) return;
  self_->send(std::exchange(answer_, nullptr), Disconnected{});
  if (cancelling_) {
    v1::Final final;
    final.set_stop_reason(v1::STOP_REASON_CANCELLED);
    if (!done_told_) PushDone(std::move(final));
  } else if (!ended.status.ok()) {
    // Perhaps it fits without what was said longest ago.
    if (absl::IsOutOfRange(ended.status) && !first_token_at_.has_value() &&
        conversation_.Forget()) {
      ++turn_number_;
      return Answer();
    }
    return End(ended.status, ended.retry_after_ns);
  }
  StartTurn();
  if (client_done_) return End(absl::OkStatus());
  heard_ = self_->clock().now();
  if (held_.has_value()) {
    const ClientMessage message = *std::move(held_);
    held_.reset();
    return TakeMessage(message);
  }
  Read();
}

void ConverseCallState::TakeCancel(const v1::CancelTurn& cancel) {
  const int32_t at_hand = turns_done_ + 1;
  if (cancel.turn() < 0 || cancel.turn() > at_hand) {
    return End(absl::InvalidArgumentError(
        absl::StrCat("cancel.turn is ", cancel.turn(), ", the turn at hand is ",
                     at_hand, "; name that one, or none")));
  }
  // It crossed the end of what it was to cancel.
  const bool late = (cancel.turn() != 0 && cancel.turn() < at_hand) ||
                    done_told_ || (phase_ == Phase::kTaking && TurnIsEmpty());
  if (!late) Cancel();
  // What follows is of the next turn, which begins when this one has ended.
  if (!cancelling_) Read();
}

void ConverseCallState::Cancel() {
  if (phase_ == Phase::kAnswering) {
    cancelling_ = true;
    self_->send(answer_, Disconnected{});  // ends with TurnEnded
    return;
  }
  Release();
  v1::Final final;
  final.set_stop_reason(v1::STOP_REASON_CANCELLED);
  PushDone(std::move(final));
  StartTurn();
}

SoundTaken ConverseCallState::Sum(const SoundTaken& a, const SoundTaken& b) {
  SoundTaken sum;
  sum.samples = a.samples + b.samples;
  sum.tokens = a.tokens + b.tokens;
  sum.compute_ns = a.compute_ns + b.compute_ns;
  sum.waiting_samples = b.waiting_samples;
  return sum;
}

// --- Out --------------------------------------------------------------------

void ConverseCallState::PushProgress(bool end_of_turn) {
  const SoundTaken all = Sum(earlier_, taken_);
  const bool news =
      all.tokens != told_.tokens || all.samples - told_.samples >= kSoundRate;
  if (!end_of_turn && (!news || pushed_.size() >= kMostQueued)) return;
  told_ = all;
  v1::ConverseResponse response;
  v1::SoundProgress* progress = response.mutable_progress();
  progress->set_seconds(Seconds(all.samples));
  progress->set_tokens(static_cast<int32_t>(all.tokens));
  progress->set_waiting_seconds(Seconds(all.waiting_samples));
  progress->set_end_of_turn(end_of_turn);
  Push(response, /*of_turn=*/false);
}

void ConverseCallState::PushDone(v1::Final final) {
  const SoundTaken all = Sum(earlier_, taken_);
  v1::ConverseResponse response;
  v1::TurnDone* done = response.mutable_done();
  *done->mutable_final() = std::move(final);
  done->set_sound_seconds(Seconds(all.samples));
  done->set_sound_tokens(static_cast<int32_t>(all.tokens));
  done->set_compute_ms(static_cast<double>(all.compute_ns) / 1e6);
  if (first_token_at_.has_value()) {
    done->set_encode_ms(MillisecondsBetween(ended_at_, encoded_at_));
    done->set_first_token_ms(MillisecondsBetween(ended_at_, *first_token_at_));
  }
  done->set_forgotten_turns(conversation_.forgotten());
  done->set_turn(++turns_done_);
  done_told_ = true;
  Push(response, /*of_turn=*/false);
}

void ConverseCallState::Push(const v1::ConverseResponse& response,
                             bool of_turn) {
  if (stream_ == nullptr) return;
  pushed_.push_back(of_turn ? turn_number_ : 0);
  stream_->Push(ToByteBuffer(response.SerializeAsString()));
}

// The answer's call gets its own back.
void ConverseCallState::TakeCredit(int32_t messages) {
  heard_ = self_->clock().now();
  for (; messages > 0 && !pushed_.empty(); --messages) {
    if (pushed_.front() == turn_number_ && answer_ != nullptr) {
      self_->send(answer_, Credit{1});
    }
    pushed_.pop_front();
  }
  if (read_later_) Read();
}

void ConverseCallState::Release() {
  ahead_.Drop();
  if (cancelled_ != nullptr) *cancelled_ = true;
  if (sound_ != 0) self_->send(audio_, DropSound{std::exchange(sound_, 0)});
  if (answer_ != nullptr) {
    self_->send(std::exchange(answer_, nullptr), Disconnected{});
  }
}

void ConverseCallState::End(const absl::Status& status,
                            int64_t retry_after_ns) {
  if (stream_ == nullptr) return;
  std::exchange(stream_, nullptr)->End(ToGrpcStatus(status), retry_after_ns);
  Release();
  ++turn_number_;
}

// From gRPC: OnCancel, then OnDone.
void ConverseCallState::TakeDisconnected() {
  End(absl::CancelledError("the client cancelled the call"));
  self_->quit();
}

ConverseActor::behavior_type ConverseCall(
    ConverseActor::stateful_pointer<ConverseCallState> self,
    std::shared_ptr<CallContext> context,
    std::chrono::system_clock::time_point deadline,
    std::shared_ptr<ConverseStream> stream) {
  self->state.Begin(std::move(context), deadline, std::move(stream));
  return {
      [self](const Credit& credit) { self->state.TakeCredit(credit.messages); },
      [self](const Disconnected&) { self->state.TakeDisconnected(); },
      [self](const ClientMessage& message) {
        self->state.TakeMessage(message);
      },
      [self](const Progress&) {},  // of what is prefilled: there is none
      [self](const Ended& ended) { self->state.TakeEnded(ended); },
      [self](const ClientDone&) { self->state.TakeClientDone(); },
      [self](const Start&) { self->state.Open(); },
      [self](const TurnMessage& message) {
        self->state.TakeTurnMessage(message);
      },
      [self](const TurnEnded& ended) { self->state.TakeTurnEnded(ended); },
      [self](const SilenceCheck&) { self->state.CheckSilence(); },
      [self](const NodeShutsDown&) { self->state.TakeNodeShutsDown(); },
  };
}

}  // namespace lapidary
