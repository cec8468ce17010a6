// Prefills the prompt of a turn while its sound is still being spoken, so that
// little is left to run when it ends: what comes before the sound at once, and
// soft tokens as they become final. The prompt is what it would be otherwise,
// so the answer is, too; only the place of the work in time is another.
//
//   Begin ─► encoder: the prompt as if the turn ended with this sound
//         ─► sequencer: what is before the sound, as Submit::open
//   Take  ─► sequencer: soft tokens, some at a time
//   Finish: for the call that answers, which goes on from there
//
// Whatever goes wrong here is no error: the turn is then prefilled at its end.
#ifndef LAPIDARY_ACTORS_PREFILL_AHEAD_H_
#define LAPIDARY_ACTORS_PREFILL_AHEAD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "actors/converse_messages.h"
#include "actors/messages.h"
#include "actors/stream_call.h"
#include "kernels/tensor.h"

namespace lapidary {

class PrefillAhead {
 public:
  // Fewer soft tokens than so many wait for others: a step reads all weights
  // for one row as for some. 1.28 s of sound.
  static constexpr int64_t kRowsAtOnce = 8;
  // Positions that what follows the sound may have beyond the end of a turn.
  static constexpr int64_t kSpareTokens = 64;

  // `self` passes on every Ended.
  explicit PrefillAhead(ConverseActor::pointer self) : self_(self) {}

  // Whether Begin would do anything.
  bool may_begin() const { return !begun_ && !asking_; }
  // Of a turn that has nothing prefilled.
  //   encode  of the request, with a sound of one window where the one that
  //           comes belongs, the last of its media; the others have their rows
  void Begin(std::shared_ptr<CallContext> context, const Encode& encode);
  // The sound's next soft tokens, [tokens][hidden].
  void Take(const kernels::Tensor& rows);
  // The sound has ended, with `rows` as its soft tokens.
  void Check(const kernels::Tensor& rows);
  // What the turn's prompt goes on from, which is the caller's to drop then.
  std::optional<BegunPrompt> Finish();
  void Drop();
  void TakeEnded(const Ended& ended);

 private:
  void TakeEncoded(const Encoded& encoded);
  void Push();

  ConverseActor::pointer self_;
  std::shared_ptr<CallContext> context_;
  uint64_t attempt_ = 0;  // answers of earlier ones come late
  bool asking_ = false;   // the encoder, for whatever attempt: one at a time
  bool begun_ = false;    // and not dropped since
  bool sound_ended_ = false;
  SequencerActor sequencer_;  // null: the prompt is being encoded
  // What has been submitted; its soft tokens are those of the newest piece.
  Submit submit_;
  int32_t sound_token_ = 0;
  std::vector<kernels::Tensor> rows_;  // of the sound so far
  size_t pushed_ = 0;                  // of rows_
  int64_t waiting_ = 0;                // rows that are not pushed
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PREFILL_AHEAD_H_
