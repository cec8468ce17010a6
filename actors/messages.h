// Everything that crosses from one actor to another.
//
// In a process these structs travel by reference: CAF shares them, tensors
// inside share their bytes, and nothing is serialized. Between processes they
// take the form of messages_wire.h. Handlers take `const T&`.
//
//   client    Encode         ─► encoder ─► Encoded                client
//   client    EncodeImage    ─► vision ─► EncodedMedium            client
//   client    messages_audio.h ─► audio                           client
//   client    Submit, Cancel ─► sequencer ─► Accepted,
//                                            Progress…, Ended     client
//   sequencer PleRead        ─► ple_server ─► PleRows             sequencer
//   sequencer Step, Release  ─► stage ─► StepResult, StageGauges  sequencer
//   directory RoleEvent      ─► whoever subscribed
//
// A "client" is the actor of one call (stream_call.h, unary_calls.h). Sequences
// are named by a number that the client's side makes up; unique within a node's
// life.
#ifndef LAPIDARY_ACTORS_MESSAGES_H_
#define LAPIDARY_ACTORS_MESSAGES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "actors/messages_status.h"
#include "caf/all.hpp"
#include "kernels/sampling/sampler.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"
#include "storage/media_policy.h"

namespace lapidary {

using SequenceId = uint64_t;
// A block of keys and values that stages keep (prefix_cache.h). The sequencer
// makes it up; never 0, never used twice in a stage's life.
using BlockHandle = uint64_t;

// --- Client and encoder -----------------------------------------------------

enum class Task : uint8_t {
  kGenerate = 0,
  kScore = 1,
  kTokenize = 2,
  kDetokenize = 3,
  kEncodeMedia = 4,
};

// A client's request as it came: the serialized message of lapidary.proto that
// the task's call takes.
struct Encode {
  Task task = Task::kGenerate;
  std::string request;
  // Soft tokens of the parts whose own have no values, in their order.
  std::vector<kernels::Tensor> media;
};

// --- Client and sequencer ---------------------------------------------------

// Who goes first, and who gets more of the prompts' rows.
enum class Priority : uint8_t { kLow = 0, kNormal = 1, kHigh = 2 };

// Positions of a prompt whose embeddings are not their tokens'.
struct SoftTokens {
  int32_t first_position = 0;
  kernels::Tensor rows;  // f32 [positions][hidden]
};

// A request, checked and in token ids.
struct Submit {
  SequenceId sequence = 0;
  Task task = Task::kGenerate;
  std::vector<int32_t> tokens;  // prompt (scoring: all that is scored)
  kernels::SamplingParams sampling;
  int32_t max_tokens = 0;        // ≥ 1; scoring: 0
  std::vector<int32_t> eos_ids;  // any of them ends the answer
  // Most probable tokens to return with each token; -1: not even its own
  // log-probability.
  int32_t top_logprobs = -1;
  // Nanoseconds that are left of the call's own deadline, and of the request's
  // time limit; 0: none.
  int64_t deadline_ns = 0;
  int64_t time_limit_ns = 0;
  // Nanoseconds since the request arrived at the gateway.
  int64_t age_ns = 0;
  Priority priority = Priority::kNormal;
  // Tokens that the answer has if nobody cuts it short: max_tokens where
  // nothing else can end it, 1 where anything can.
  int32_t min_tokens = 1;
  // Neither begins with what others computed nor leaves anything to others.
  bool no_prefix_cache = false;
  // Ascending, and no position twice.
  std::vector<SoftTokens> soft_tokens;
  // Only asks whether it would be taken now: before its media are encoded.
  bool only_asks = false;
  // The beginning of a prompt whose rest is still being made. What is here is
  // prefilled, and nothing is drawn. Submits of the same sequence follow, each
  // with all tokens so far and the soft tokens of the new ones; the last is not
  // open, has them all, and its client gets the answer. An open one is taken
  // only where it needs not wait, and its sampling is the whole request's.
  bool open = false;
  // Of an open one: it is not the first piece, so that it is nothing where the
  // others are lost.
  bool goes_on = false;
  // Of an open one: positions that the whole may come to have.
  int32_t reserve_positions = 0;
};

// Accepted::retry_after_ns of a request that will never be taken as it is.
inline constexpr int64_t kNeverRetry = -1;

// The sequencer's answer to Submit. If the status is OK, an Ended will follow,
// unless that only asked; if not, nothing will.
struct Accepted {
  absl::Status status;
  // Of a refusal: nanoseconds after which there may be room, or kNeverRetry. 0
  // where that is not the question.
  int64_t retry_after_ns = 0;
};

enum class MediumKind : uint8_t { kImage = 0, kSound = 1 };

// An image or a sound of a prompt, and where its soft tokens go.
struct PromptMedium {
  MediumKind kind = MediumKind::kImage;
  int32_t first_position = 0;
  // Of a sound that is cut into windows: where the second and later ones go.
  std::vector<int32_t> later_windows;
  std::shared_ptr<const std::string> file;
  kernels::Tensor rows;  // instead of a file: as EncodedMedium::rows
  std::string field;     // of the request, for errors
  std::string key;       // as EncodeImage::key
  std::optional<MediaSource> source;  // instead of a file: where it is
};

// The encoder's answer to Encode.
struct Encoded {
  absl::Status status;
  // Generate and Score.
  Submit submit;
  std::vector<std::string> stop;    // stop strings
  int32_t continuation_tokens = 0;  // the last so many of submit.tokens
  bool fixed_max_tokens = true;     // false: the node's default
  // To become submit.soft_tokens; of EncodeMedia the one that is asked for.
  std::vector<PromptMedium> media;
  // Tokenize and Detokenize: the serialized response.
  std::string reply;
};

// Ends a sequence; answered by Ended, unless it has ended already.
struct Cancel {
  SequenceId sequence = 0;
  // True: the answer is complete for its client (a stop string was met).
  bool complete = false;
};

struct TokenResult {
  int32_t id = 0;
  std::optional<float> logprob;
  std::vector<kernels::TokenLogProb> top;
};

// Tokens that were drawn, or the next ones that were scored.
struct Progress {
  SequenceId sequence = 0;
  std::vector<TokenResult> tokens;
};

enum class EndReason : uint8_t {
  kFailed = 0,  // see Ended::status
  kEos = 1,
  kStopString = 2,
  kMaxTokens = 3,
  kTimeLimit = 4,
  kScored = 5,
};

// Times of one sequence, in nanoseconds.
struct SequenceTimings {
  int64_t queue = 0;        // arrival to first step
  int64_t prefill = 0;      // first step to first token, or to the last score
  int64_t decode = 0;       // first token to last
  int64_t steps_total = 0;  // the steps it had a part in, added up
  int64_t ple_wait = 0;     // it could not join a step for want of rows
  int32_t steps = 0;
};

// The last message about a sequence.
struct Ended {
  SequenceId sequence = 0;
  EndReason reason = EndReason::kFailed;
  absl::Status status;  // not OK if and only if reason is kFailed
  int32_t prompt_tokens = 0;
  int32_t completion_tokens = 0;
  int32_t cached_prompt_tokens = 0;  // of prompt_tokens, those not run again
  SequenceTimings timings;
};

// --- Client and vision ------------------------------------------------------

// An image file as the client sent it.
struct EncodeImage {
  std::shared_ptr<const std::string> file;
  // Set by the asker when it no longer waits; null: it waits to the end.
  std::shared_ptr<const std::atomic<bool>> cancelled;
  // The file's Checksum (storage/file_io.h), where somebody has the time to
  // make it; empty: the vision actor does.
  std::string key;
  // PackedModel::vision_fingerprint of the tower that shall do it; empty: the
  // node's own, whichever that is.
  std::string tower;
};

struct EncodedMedium {
  absl::Status status;
  // f32 [tokens][hidden]: the soft tokens, and the embedding of the token that
  // ends an image where that is the tower's too.
  kernels::Tensor rows;
};

// --- Sequencer and PLE server -----------------------------------------------

struct PleRead {
  std::vector<int32_t> ids;
  kernels::text::LayerRange layers;
};

struct PleRows {
  absl::Status status;
  kernels::Tensor rows;  // [ids][layers][P]
};

// --- Sequencer and stage ----------------------------------------------------

// What a stage must know of a sequence before its first rows.
struct SequenceStart {
  int64_t max_positions = 0;  // pages for so many are taken now
  kernels::SamplingParams sampling;
  // Tokens drawn before; not 0 for a sequence that goes on where another stage
  // left it. The sequencer keeps all that such a start needs.
  uint64_t drawn = 0;
  // Kept blocks that it begins with, first to last, and the tokens of all their
  // positions, which the sampler sees. Its rows go on behind them.
  std::vector<BlockHandle> prefix;
  std::vector<int32_t> prefix_tokens;
};

// A block that a step's rows complete, and that the stage shall keep. One of a
// known handle has lost its window and gets that back.
struct KeepBlock {
  BlockHandle handle = 0;
  BlockHandle parent = 0;  // the block before it; 0: it is the first
  int32_t number = 0;      // of its first position: 64 times that
};

// What a step does for one sequence.
struct StepRows {
  SequenceId sequence = 0;
  std::optional<SequenceStart> start;
  int32_t first_position = 0;
  std::vector<int32_t> token_ids;  // [rows]
  kernels::Tensor ple_rows;        // [rows][layers][P]
  // Those that these rows have a part in, whole.
  std::vector<SoftTokens> soft_tokens;
  bool is_prompt = false;  // tokens that the sampler has not seen
  bool sample = false;     // draw a token from the last row
  // Scoring: for each row the token whose log-probability is wanted, -1 for
  // none. Empty: nothing is scored.
  std::vector<int32_t> targets;
  int32_t top_logprobs = -1;    // as in Submit
  std::vector<KeepBlock> keep;  // ascending numbers
};

struct Step {
  uint64_t number = 0;
  kernels::text::LayerRange layers;
  std::vector<StepRows> sequences;
  // Kept blocks, and windows of kept blocks, that are given up before the
  // sequences' pages are taken. Unknown ones are ignored.
  std::vector<BlockHandle> drop_blocks;
  std::vector<BlockHandle> drop_windows;
};

struct StepRowsResult {
  SequenceId sequence = 0;
  absl::Status status;  // not OK: the stage has forgotten the sequence
  std::optional<TokenResult> sampled;
  std::vector<TokenResult> scored;  // one for each wanted target
  // With a status that is not OK: the block of SequenceStart::prefix for want
  // of which the sequence did not start; 0: that was not the reason.
  BlockHandle missing_block = 0;
  std::vector<BlockHandle> not_kept;  // of StepRows::keep, for want of pages
};

struct StepResult {
  uint64_t number = 0;
  std::vector<StepRowsResult> sequences;  // in the order of the step's
  int64_t compute_ns = 0;
  StageGauges gauges;
  StageTimes times;
};

// Forgets sequences and frees their pages; unknown ones are ignored. Answered
// by StageGauges.
struct Release {
  std::vector<SequenceId> sequences;
  bool all = false;  // whatever the stage holds, kept blocks among it
};

// --- Directory --------------------------------------------------------------

// A role was taken up or lost. In a process the actor's handle goes with it as
// the message's second element (null when lost).
struct RoleEvent {
  std::string role;  // "stage", "ple_server", …
  bool alive = false;
  uint64_t incarnation = 0;  // grows with every start
  std::string reason;        // why it was lost
  StageGauges gauges;        // of a stage
};

// --- Within a process only --------------------------------------------------

// Asks a fresh actor to get ready; answered once by Started.
struct Start {};

struct Started {
  absl::Status status;
  StageGauges gauges;  // of a stage
};

// Makes a role's actor die as if it had crashed.
struct KillRole {
  std::string role;
};

// Starts a role again.
struct Restart {
  size_t role = 0;  // index
};

// The directory's answer to a lookup goes with the handle, or null.
struct Lookup {
  std::string role;
};

// The sender wants every RoleEvent from now on, and those of roles that are
// already alive.
struct Subscribe {};

// Makes an actor look at its clock.
struct Tick {};

// From gRPC's threads to the actor of a call: so many messages more may be
// pushed; and, the client is gone or the call is over.
struct Credit {
  int32_t messages = 0;
};
struct Disconnected {};

using ClientActor =
    caf::typed_actor<caf::reacts_to<Progress>, caf::reacts_to<Ended>>;

// What gRPC's threads send to.
using CallActor =
    caf::typed_actor<caf::reacts_to<Credit>, caf::reacts_to<Disconnected>>;

using SubscriberActor =
    caf::typed_actor<caf::reacts_to<RoleEvent, caf::strong_actor_ptr>>;

using EncoderActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<Encode>::with<Encoded>,
                     caf::replies_to<StatusQuery>::with<ProcessStatus>>;

using SequencerActor = SubscriberActor::extend<
    caf::replies_to<Start>::with<Started>,
    caf::replies_to<Submit>::with<Accepted>, caf::reacts_to<Cancel>,
    caf::reacts_to<Tick>, caf::replies_to<StatusQuery>::with<SequencerStatus>>;

using PleServerActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<PleRead>::with<PleRows>,
                     caf::replies_to<StatusQuery>::with<PleStatus>>;

using VisionActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<EncodeImage>::with<EncodedMedium>,
                     caf::replies_to<StatusQuery>::with<VisionStatus>>;

using StageActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<Step>::with<StepResult>,
                     caf::replies_to<Release>::with<StageGauges>>;

using DirectoryActor =
    caf::typed_actor<caf::reacts_to<RoleEvent, caf::strong_actor_ptr>,
                     caf::reacts_to<Subscribe>,
                     caf::replies_to<Lookup>::with<caf::strong_actor_ptr>,
                     caf::replies_to<StatusQuery>::with<DirectoryStatus>>;

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Submit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Disconnected)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Credit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Accepted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Encoded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Encode)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Cancel)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Progress)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Ended)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::EncodeImage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::EncodedMedium)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PleRead)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PleRows)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Step)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::StepResult)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Release)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::RoleEvent)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Start)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Started)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::KillRole)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Restart)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Lookup)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::Subscribe)

#endif  // LAPIDARY_ACTORS_MESSAGES_H_
