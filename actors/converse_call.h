// The actor of one Converse call: takes what the client sends, has sound
// encoded as it comes, and has each turn answered by a call of its own
// (stream_call.h). Lives as long as the client's call, and frees what it holds
// when that ends, however that ends.
//
//   pcm ─► PushSound ─► audio           the next message is read only when the
//   part ─► encoder ─► vision, audio    last one has found its place
//   end_of_turn ─► StreamCall ─► deltas, done ─► stream
#ifndef LAPIDARY_ACTORS_CONVERSE_CALL_H_
#define LAPIDARY_ACTORS_CONVERSE_CALL_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "actors/conversation.h"
#include "actors/converse_messages.h"
#include "actors/converse_stream.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/prefill_ahead.h"
#include "actors/stream_call.h"

namespace lapidary {

class ConverseCallState {
 public:
  explicit ConverseCallState(ConverseActor::pointer self)
      : self_(self), ahead_(self) {}
  // A call whose actor is lost must end as well.
  ~ConverseCallState();

  void Begin(std::shared_ptr<CallContext> context,
             std::chrono::system_clock::time_point deadline,
             std::shared_ptr<ConverseStream> stream);
  void Open();
  void TakeMessage(const ClientMessage& message);
  void TakeClientDone();
  void TakeTurnMessage(const TurnMessage& message);
  void TakeTurnEnded(const TurnEnded& ended);
  void TakeCredit(int32_t messages);
  void TakeDisconnected();
  void CheckSilence();
  void TakeNodeShutsDown();
  // Of a turn that is prefilled before it ends.
  void TakeEnded(const Ended& ended) { ahead_.TakeEnded(ended); }

 private:
  using Time = std::chrono::steady_clock::time_point;
  enum class Phase {
    kStart,   // nothing has come
    kTaking,  // parts of a turn come
    kEnding,  // all have come, some are being encoded
    kAnswering,
  };

  // Asks for the client's next message.
  void Read();
  void TakeStart(const v1::ConverseStart& start);
  void TakePcm(const std::string& pcm);
  void OpenSoundThen(const std::shared_ptr<const std::string>& pcm);
  void PushPcm(std::shared_ptr<const std::string> pcm);
  void BeginAhead();
  // For the turn at hand alone.
  std::function<void(caf::error&)> SoundLost();
  absl::Status CheckTurnFits() const;
  // What stands for a sound in the prompt.
  kernels::Tensor RowsOf(const LiveSound& live) const;
  void TakeSoundTaken(const SoundTaken& taken);
  void TakePart(const std::shared_ptr<const v1::Part>& given);
  void EncodePart(const v1::Part& part);
  // Ends the live sound, if there is one, and goes on with `then`.
  void CloseSound(const std::function<void()>& then);
  void EndTurn();
  void Answer();
  void TakeCancel(const v1::CancelTurn& cancel);
  void Cancel();
  void StartTurn();
  // Nothing of the turn has come.
  bool TurnIsEmpty() const;
  // So far the turn asks nothing.
  bool TurnIsIdle() const;
  bool EndedByShutdown();

  static SoundTaken Sum(const SoundTaken& a, const SoundTaken& b);
  void PushProgress(bool end_of_turn);
  void PushDone(v1::Final final);
  void Push(const v1::ConverseResponse& response, bool of_turn);
  void End(const absl::Status& status, int64_t retry_after_ns = 0);
  // Frees what the turn at hand has with other actors.
  void Release();
  // `then` for the turn at hand alone: others have gone meanwhile.
  template <typename Answer, typename Then>
  auto ForThisTurn(Then then);

  ConverseActor::pointer self_;
  std::shared_ptr<CallContext> context_;
  std::chrono::system_clock::time_point deadline_;
  std::shared_ptr<ConverseStream> stream_;
  std::chrono::milliseconds idle_{30000};
  Time heard_;  // from the client
  bool reading_ = false;
  bool read_later_ = false;  // when the client has read some of its own
  bool client_done_ = false;
  bool shuts_down_ = false;  // the node
  // Messages not written yet: the turn whose answer's call sent them, 0: none.
  std::deque<uint64_t> pushed_;

  PcmFormat format_;
  bool endpointing_ = false;
  int64_t silence_samples_ = 0;
  double loud_db_ = -45;
  bool early_prefill_ = false;
  bool omit_padding_ = false;
  Conversation conversation_;

  Phase phase_ = Phase::kStart;
  uint64_t turn_number_ = 0;
  ConverseTurn turn_;
  std::shared_ptr<std::atomic<bool>> cancelled_;  // media of the turn
  bool cancelling_ = false;
  bool done_told_ = false;  // of the turn at hand
  // Of the next turn: it came before this one's call had ended.
  std::optional<ClientMessage> held_;
  int32_t turns_done_ = 0;
  size_t text_bytes_ = 0;
  AudioActor audio_;
  SoundId sound_ = 0;   // that arrives now; 0: none
  SoundTaken taken_;    // of it
  SoundTaken earlier_;  // sums of the turn's sounds before it
  SoundTaken told_;     // in the last progress
  PrefillAhead ahead_;
  StreamCallActor answer_;
  Time ended_at_, encoded_at_;
  std::optional<Time> first_token_at_;
};

template <typename Answer, typename Then>
auto ConverseCallState::ForThisTurn(Then then) {
  return [this, turn = turn_number_, then](const Answer& answer) {
    if (turn == turn_number_ && stream_ != nullptr) then(answer);
  };
}

ConverseActor::behavior_type ConverseCall(
    ConverseActor::stateful_pointer<ConverseCallState> self,
    std::shared_ptr<CallContext> context,
    std::chrono::system_clock::time_point deadline,
    std::shared_ptr<ConverseStream> stream);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_CONVERSE_CALL_H_
