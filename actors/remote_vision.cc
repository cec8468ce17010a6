#include "actors/remote_vision.h"

#include <chrono>
#include <utility>

#include "absl/status/status.h"

namespace lapidary {
namespace {

using Self = RemoteVisionActor::stateful_pointer<RemoteVisionState>;

void Open(Self self, MediaPeersConfig config) {
  const std::string tower = config.tower;
  self->state.peers.Open(
      self->address(), std::move(config),
      [tower](const RemoteJob& job) {
        return EncodeImage{job.file, nullptr, "", tower};
      },
      [self](const RemoteJob& job) {
        VisionStatus& counters = self->state.counters;
        ++counters.images;
        counters.encode_ns += std::chrono::nanoseconds(
                                  std::chrono::steady_clock::now() - job.began)
                                  .count();
      });
}

caf::result<EncodedMedium> Take(Self self, const EncodeImage& encode,
                                int64_t rows) {
  MediaPeers& peers = self->state.peers;
  auto promise = self->make_response_promise<EncodedMedium>();
  RemoteJob* job =
      peers.jobs().Take(encode.file, encode.key, {promise, encode.cancelled});
  if (job != nullptr) {
    job->rows = rows;
    peers.Send(job);
    peers.ArmDrop();
  }
  return promise;
}

VisionStatus Describe(const RemoteVisionState& state) {
  VisionStatus status = state.counters;
  state.peers.jobs().Describe(&status);
  status.tower = state.peers.config().tower;
  status.peers = state.peers.Statuses();
  return status;
}

}  // namespace

RemoteVisionState::~RemoteVisionState() {
  peers.jobs().FailAll(
      absl::UnavailableError("the vision actor was lost; try again"));
}

RemoteVisionActor::behavior_type RemoteVision(Self self,
                                              RemoteVisionConfig config) {
  Open(self, std::move(config.peers));
  return {
      [self](const Start&) -> caf::result<Started> {
        self->state.peers.Probe();
        return Started{};
      },
      [self, rows = config.rows](const EncodeImage& encode)
          -> caf::result<EncodedMedium> { return Take(self, encode, rows); },
      [self](const StatusQuery&) { return Describe(self->state); },
      [self](const PeerAnswered& answered) {
        self->state.peers.TakeAnswer(answered);
      },
      [self](const PeerProbed& probed) { self->state.peers.TakeProbe(probed); },
      [self](const ProbePeers&) { self->state.peers.Probe(); },
      [self](const DropUnwanted&) { self->state.peers.Drop(); },
  };
}

}  // namespace lapidary
