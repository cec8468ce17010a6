// Plays the audio actor on a node that loads no tower: has other nodes encode
// its sounds.
//
// Files go the way of images (media_peers.h). They are decoded here first, into
// nothing but their length: what is wrong with one is said without asking
// anybody, and a peer's rows can be counted.
//
// A live sound has a call of its own to one peer (PeerChannel::Hear), over
// which each of its messages is a question that is answered before the next.
// That was chosen over calls by the sound's number because the transport then
// does what a table of numbers would have to: it keeps the order, ends the
// sound at the peer when this node, its actor or the call is gone, tells this
// node at once when the peer is, and makes the client wait where the peer does.
// A peer that is full, or not there, is replaced before a sound has begun; one
// that is lost later takes the sound along: the next message is answered with
// UNAVAILABLE.
#ifndef LAPIDARY_ACTORS_REMOTE_AUDIO_H_
#define LAPIDARY_ACTORS_REMOTE_AUDIO_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "actors/media_peers.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/sound_encoding.h"
#include "actors/sound_reader.h"
#include "storage/packed_model.h"
#include "storage/sound.h"

namespace lapidary {

struct RemoteAudioConfig {
  std::shared_ptr<const PackedModel> model;
  MediaPeersConfig peers;  // what the model says is filled in
  SoundLimits limits;      // of a file
  int max_live = 64;       // live sounds at once; more are refused
};

// From gRPC's threads: a peer's answer about a live sound.
struct PeerHeard {
  SoundId sound = 0;
  uint64_t call = 0;
  std::shared_ptr<const absl::StatusOr<WireMessage>> answer;
};

using RemoteAudioActor =
    AudioActor::extend<caf::reacts_to<PeerHeard>, caf::reacts_to<PeerAnswered>,
                       caf::reacts_to<PeerProbed>, caf::reacts_to<ProbePeers>,
                       caf::reacts_to<DropUnwanted>>;

class RemoteAudioState {
 public:
  explicit RemoteAudioState(RemoteAudioActor::pointer self) : self_(self) {}
  // Tells all who wait that it is lost.
  ~RemoteAudioState();

  void Configure(RemoteAudioConfig config) { config_ = std::move(config); }
  Started Open();
  caf::result<EncodedMedium> Take(const EncodeSound& encode);
  caf::result<MeasuredSound> Measure(const MeasureSound& measure);
  caf::result<SoundTaken> TakeLive(const OpenSound& open);
  caf::result<SoundTaken> TakePcm(const PushSound& push);
  caf::result<LiveSound> EndLive(const EndSound& end);
  void TakeHeard(const PeerHeard& heard);
  void Drop(SoundId sound);
  void DropOf(const caf::actor_addr& client);
  // Looks after live sounds, and asks whether peers are there.
  void Probe();
  AudioStatus Describe() const;
  MediaPeers& peers() { return peers_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Live {
    caf::actor_addr client;
    OpenSound open;
    uint64_t call = 0;  // that it has now; another one for each peer
    size_t peer = 0;
    PeerAttempts attempts;
    std::shared_ptr<PeerTalk> talk;
    uint64_t bytes = 0;  // of pcm, so far
    SoundTaken taken;    // the newest
    Clock::time_point asked;
    // Whoever waits for the peer's answer: one of them, or nobody.
    std::optional<caf::typed_response_promise<SoundTaken>> opening, pushing;
    std::optional<caf::typed_response_promise<LiveSound>> ending;
    // Not OK: it was lost while nobody waited.
    absl::Status lost;

    bool waiting() const {
      return opening.has_value() || pushing.has_value() || ending.has_value();
    }
  };

  void TakeMeasure(uint64_t job, const SoundSamples& read);

  // --- Live sounds
  // Asks the next peer to begin it, or answers that there is none.
  void Begin(SoundId id, Live& live);
  // OK if the sound can be asked about now; forgets one that is lost.
  absl::Status Ready(SoundId id);
  void TakeOpened(SoundId id, Live& live,
                  const absl::StatusOr<SoundTaken>& opened);
  // The peer's answer, checked; errors are the peer's.
  absl::StatusOr<SoundTaken> CheckTaken(const SoundTaken& taken,
                                        const Live& live) const;
  absl::StatusOr<LiveSound> CheckEnded(const LiveSound& ended,
                                       const Live& live) const;
  // The peer did not do what it was asked, or is gone.
  void Lose(SoundId id, const absl::Status& why);
  // Answers whoever waits, and forgets the sound.
  void Fail(SoundId id, const absl::Status& status);
  void Remove(SoundId id);

  RemoteAudioActor::pointer self_;
  RemoteAudioConfig config_;
  SoundWindow window_;
  SoundReaderActor reader_;
  SoundMeasuring measuring_;
  MediaPeers peers_;
  std::map<SoundId, Live> live_;
  uint64_t last_call_ = 0;
  AudioStatus counters_;
};

// Start is answered at once: peers may come later. Spawn it detached: it waits
// for gRPC when it ends.
RemoteAudioActor::behavior_type RemoteAudio(
    RemoteAudioActor::stateful_pointer<RemoteAudioState> self,
    RemoteAudioConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerHeard)

#endif  // LAPIDARY_ACTORS_REMOTE_AUDIO_H_
