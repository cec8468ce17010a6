// The actor of one Generate or Score call: has the request encoded, submits it,
// and turns the sequencer's tokens into the client's messages. Lives as long as
// the call.
//
//   Encode ─► encoder; Submit ─► sequencer; Progress ─► text ─► stream
//   client gone ─► Cancel ─► sequencer
//
// Of the stream's credits none left, tokens are gathered into fewer, larger
// messages: a slow reader costs memory for its own answer at most.
#ifndef LAPIDARY_ACTORS_STREAM_CALL_H_
#define LAPIDARY_ACTORS_STREAM_CALL_H_

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/answer_text.h"
#include "actors/messages.h"
#include "actors/requests.h"
#include "actors/response_stream.h"
#include "actors/status_board.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// What all calls of a node share.
struct CallContext {
  DirectoryActor directory;
  std::shared_ptr<const ServedModel> model;
  // Of the node's own towers; null where it has none.
  std::shared_ptr<const VisionBoard> vision;
  std::shared_ptr<const AudioBoard> audio;
  // Soft tokens of earlier turns that a conversation keeps.
  size_t conversation_bytes = size_t{16} << 20;
  std::atomic<SequenceId> next_sequence{1};
  std::chrono::seconds role_timeout{60};  // of the encoder and the sequencer
};

// The beginning of a prompt that a sequencer has prefilled (Submit::open).
struct BegunPrompt {
  SequencerActor sequencer;
  SequenceId sequence = 0;
  kernels::SamplingParams sampling;
};

// A call as it came from gRPC.
struct CallRequest {
  Encode encode;
  // Of the client; time_point::max() for none.
  std::chrono::system_clock::time_point deadline;
  // What the prompt is thought to go on from. If it does not, that is dropped.
  std::optional<BegunPrompt> begun;
};

// A call's time may be over while its media are encoded.
struct OutOfTime {
  bool limit = false;  // GenerateRequest.time_limit_ms; false: the deadline
};

using StreamCallActor =
    ClientActor::extend_with<CallActor>::extend<caf::reacts_to<Start>,
                                                caf::reacts_to<OutOfTime>>;

class StreamCallState {
 public:
  explicit StreamCallState(StreamCallActor::pointer self) : self_(self) {}
  // A call whose actor is lost must end as well.
  ~StreamCallState();

  void Begin(std::shared_ptr<CallContext> context, CallRequest request,
             std::shared_ptr<AnswerSink> stream);
  void RequestEncoding();
  void TakeProgress(const Progress& progress);
  void TakeEnded(const Ended& ended);
  void TakeCredit(int32_t messages);
  void TakeDisconnected();
  void TakeOutOfTime(bool limit);

 private:
  void TakeEncoded(const Encoded& encoded);
  void RequestSequencer(const std::shared_ptr<Encoded>& encoded);
  // Without a sequence's number.
  Submit NewSubmit(const Encoded& encoded) const;
  template <typename Taken>
  void Ask(Submit submit, Taken taken);
  void TakeAccepted(const Accepted& accepted);
  // `windows`: of the media that are measured already.
  void MeasureSounds(const std::shared_ptr<Encoded>& encoded,
                     std::vector<int32_t> windows);
  void AskDoor(const std::shared_ptr<Encoded>& encoded);
  // Has media encoded from number `next` on.
  void EncodeMedia(const std::shared_ptr<Encoded>& encoded, size_t next);
  void SubmitTo(const std::shared_ptr<Encoded>& encoded);
  void DropBegun();
  // Of a scored prompt.
  bool StandsForMedia(int32_t position) const;
  void TakeToken(const TokenResult& token);
  // Pushes what is pending, at most a block a message.
  void PushPending(bool all);
  void PushBlock();
  void PushFinal(const Ended& ended);
  // `retry_after_ns` as in Accepted.
  void End(const absl::Status& status, int64_t retry_after_ns = 0);

  StreamCallActor::pointer self_;
  std::shared_ptr<CallContext> context_;
  CallRequest request_;
  std::shared_ptr<AnswerSink> stream_;
  std::chrono::steady_clock::time_point arrived_;
  int credits_ = AnswerSink::kCredits;
  // Of media that are being encoded: the call has ended.
  const std::shared_ptr<std::atomic<bool>> cancelled_ =
      std::make_shared<std::atomic<bool>>(false);

  bool encoding_ = false;    // the encoder has yet to answer
  bool abandoned_ = false;   // by its client, meanwhile
  SequenceId sequence_ = 0;  // 0: not submitted
  SequencerActor sequencer_;
  Task task_ = Task::kGenerate;
  uint64_t seed_ = 0;
  int32_t limit_prompt_tokens_ = 0;  // of a prompt whose media are encoded
  int32_t scored_prompt_ = 0;        // tokens of a scored prompt
  // Of media in it: first position, and the one behind the last.
  std::vector<std::pair<int32_t, int32_t>> media_;
  std::optional<AnswerText> text_;

  std::string pending_text_;
  std::deque<v1::Token> pending_tokens_;
  int32_t tokens_ = 0;  // that came, up to a stop string
  double prompt_logprob_ = 0;
  double continuation_logprob_ = 0;
};

StreamCallActor::behavior_type StreamCall(
    StreamCallActor::stateful_pointer<StreamCallState> self,
    std::shared_ptr<CallContext> context, CallRequest request,
    std::shared_ptr<AnswerSink> stream);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::OutOfTime)

#endif  // LAPIDARY_ACTORS_STREAM_CALL_H_
