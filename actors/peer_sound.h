// The actor of another node's live sound (peer.proto's Hear): passes its
// questions on to the audio actor, and the answers back. The sound is this
// actor's, so that it goes when this does: with the call, when the asking node
// is gone, and after some silence of it.
#ifndef LAPIDARY_ACTORS_PEER_SOUND_H_
#define LAPIDARY_ACTORS_PEER_SOUND_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/messages_wire.h"
#include "actors/reading_stream.h"

namespace lapidary {

// What the other node asked, or why it cannot be read; null: a sign of life.
struct PeerQuestion {
  std::shared_ptr<const absl::StatusOr<WireMessage>> question;

  static PeerQuestion Read(const std::string& bytes);
};

using PeerSoundStream = ReadingStream<PeerQuestion>;

// Looks whether the other node has been silent for too long.
struct PeerSilenceCheck {};

using PeerSoundActor = CallActor::extend_with<PeerSoundStream::Reader>::extend<
    caf::reacts_to<Start>, caf::reacts_to<PeerSilenceCheck>>;

struct PeerSoundConfig {
  DirectoryActor directory;
  SoundId sound = 0;  // for the audio actor; the other node's is not asked for
  // An asker that sends nothing for so long, not even a sign of life, is gone.
  std::chrono::milliseconds silence{15000};
};

class PeerSoundState {
 public:
  explicit PeerSoundState(PeerSoundActor::pointer self) : self_(self) {}
  // A call whose actor is lost must end as well.
  ~PeerSoundState();

  void Begin(PeerSoundConfig config, std::shared_ptr<PeerSoundStream> stream);
  void Open();
  void TakeQuestion(const PeerQuestion& asked);
  void CheckSilence();
  void End(const absl::Status& status);

 private:
  void Read();
  void Ask(const WireMessage& question);
  // Asks the audio actor, and sends back what it answers.
  template <typename Answer, typename Question>
  void PassOn(const Question& question);
  // `last`: the sound is over with it.
  void PushAnswer(const WireMessage& answer, bool last);

  PeerSoundActor::pointer self_;
  PeerSoundConfig config_;
  std::shared_ptr<PeerSoundStream> stream_;  // null: the call has ended
  AudioActor audio_;
  bool opened_ = false;
  bool reading_ = false;
  std::chrono::steady_clock::time_point heard_;
};

PeerSoundActor::behavior_type PeerSound(
    PeerSoundActor::stateful_pointer<PeerSoundState> self,
    PeerSoundConfig config, std::shared_ptr<PeerSoundStream> stream);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerQuestion)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerSilenceCheck)

#endif  // LAPIDARY_ACTORS_PEER_SOUND_H_
