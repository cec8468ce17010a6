#include "actors/media_peers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/soft_token_value.h"

namespace lapidary {
namespace {

constexpr std::chrono::milliseconds kDropPause{20};

// Of all peers together: a status travels in a header, of which gRPC takes
// 8 KiB.
constexpr size_t kAllWords = 4000;

using SharedAnswer = std::shared_ptr<const absl::StatusOr<WireMessage>>;

SharedAnswer Share(absl::StatusOr<WireMessage> answer) {
  return std::make_shared<const absl::StatusOr<WireMessage>>(std::move(answer));
}

// Of a peer's actor; empty for what is no status of a tower's.
std::string TowerOf(const WireMessage& status) {
  if (const auto* vision = std::get_if<VisionStatus>(&status)) {
    return vision->tower;
  }
  if (const auto* audio = std::get_if<AudioStatus>(&status)) {
    return audio->tower;
  }
  return "";
}

}  // namespace

absl::Status CheckPeerRows(const kernels::Tensor& tensor, int64_t rows,
                           int64_t width) {
  if (tensor.empty() || tensor.dtype() != kernels::DType::kF32 ||
      tensor.shape() != std::vector<int64_t>{rows, width}) {
    return absl::InternalError(
        absl::StrCat("its soft tokens are not f32 [", rows, ", ", width, "]"));
  }
  const auto* values = static_cast<const float*>(tensor.raw());
  if (!std::all_of(values, values + rows * width, IsSoftTokenValue)) {
    return absl::InternalError("its soft tokens are no embeddings");
  }
  return absl::OkStatus();
}

void MediaPeers::Open(const caf::actor_addr& self, MediaPeersConfig config,
                      std::function<WireMessage(const RemoteJob&)> question,
                      std::function<void(const RemoteJob&)> encoded) {
  self_ = self;
  config_ = std::move(config);
  question_ = std::move(question);
  encoded_ = std::move(encoded);
  jobs_.Open(config_.what, config_.bounds, config_.cache_bytes);
  const size_t answer_bytes =
      config_.max_rows * config_.width * sizeof(float) + (size_t{64} << 10);
  for (const std::string& address : config_.peers) {
    Peer& peer = peers_.emplace_back();
    peer.status.address = address;
    peer.status.reason = "it has not answered yet";
    peer.channel = std::make_unique<PeerChannel>(address, answer_bytes);
  }
}

template <typename Message>
void MediaPeers::SendLater(std::chrono::milliseconds pause,
                           Message message) const {
  const auto self = caf::actor_cast<caf::actor>(self_);
  if (self != nullptr) {
    caf::delayed_anon_send(self, pause, std::move(message));
  }
}

// --- Files ------------------------------------------------------------------

void MediaPeers::Send(RemoteJob* job) {
  const size_t chosen = Choose(&job->attempts);
  if (chosen == size()) {
    return jobs_.Finish(job, {AllFailed(job->attempts), {}});
  }
  job->ask = channel(chosen).Ask(
      question_(*job), config_.timeout,
      [self = caf::actor_cast<caf::actor>(self_), id = job->id,
       chosen](absl::StatusOr<WireMessage> answer) {
        caf::anon_send(self,
                       PeerAnswered{id, chosen, Share(std::move(answer))});
      });
}

absl::StatusOr<EncodedMedium> MediaPeers::Check(
    const absl::StatusOr<WireMessage>& answer, const RemoteJob& job) const {
  if (!answer.ok()) {
    // Said by gRPC or by the other node's door, whatever the code.
    return absl::UnavailableError(answer.status().message());
  }
  const auto* medium = std::get_if<EncodedMedium>(&*answer);
  if (medium == nullptr) {
    return absl::InternalError("it answered with another message");
  }
  if (!medium->status.ok()) {
    const absl::Status said(medium->status.code(),
                            medium->status.message().substr(0, kPeerWords));
    // Anything else is the peer's, not the file's: another one may do better.
    if (!absl::IsInvalidArgument(said)) return said;
    return EncodedMedium{said, {}};
  }
  const absl::Status rows =
      CheckPeerRows(medium->rows, job.rows, config_.width);
  if (!rows.ok()) return rows;
  return *medium;
}

void MediaPeers::TakeAnswer(const PeerAnswered& answered) {
  Release(answered.peer);
  RemoteJob* job = jobs_.Find(answered.job);
  if (job == nullptr) return;  // nobody waited for it any more
  const absl::StatusOr<EncodedMedium> medium = Check(*answered.answer, *job);
  if (!medium.ok()) {
    job->attempts.failures.push_back(Failed(answered.peer, medium.status()));
    return Send(job);
  }
  peers_[answered.peer].status.alive = true;
  if (medium->status.ok()) {
    CountEncoded(answered.peer);
    encoded_(*job);
  }
  jobs_.Finish(job, *medium);
}

void MediaPeers::ArmDrop() {
  if (!jobs_.empty() && !std::exchange(drop_armed_, true)) {
    SendLater(kDropPause, DropUnwanted{});
  }
}

void MediaPeers::Drop() {
  jobs_.DropUnwanted(0, [](RemoteJob& job) {
    if (job.ask != nullptr) job.ask->Cancel();
  });
  drop_armed_ = false;
  ArmDrop();
}

// --- Peers ------------------------------------------------------------------

size_t MediaPeers::Choose(PeerAttempts* attempts) {
  size_t best = size();
  const auto rank = [this](size_t peer) {
    return std::make_pair(!peers_[peer].status.alive,
                          peers_[peer].on_their_way);
  };
  for (size_t peer = 0; peer < size(); ++peer) {
    if (attempts->tried.count(peer) != 0) continue;
    if (best == size() || rank(peer) < rank(best)) best = peer;
  }
  if (best < size()) {
    attempts->tried.insert(best);
    ++peers_[best].on_their_way;
  }
  return best;
}

void MediaPeers::CountEncoded(size_t peer) {
  peers_[peer].status.alive = true;
  ++peers_[peer].status.encoded;
}

absl::Status MediaPeers::Failed(size_t peer, const absl::Status& status) {
  MediaPeer& failed = peers_[peer].status;
  failed.alive = absl::IsResourceExhausted(status);
  failed.reason = std::string(status.message());
  return absl::Status(status.code(),
                      absl::StrCat(failed.address, ": ", status.message()));
}

absl::Status MediaPeers::AllFailed(const PeerAttempts& attempts) const {
  std::string reasons;
  bool full = false;
  for (const absl::Status& failure : attempts.failures) {
    absl::StrAppend(&reasons, reasons.empty() ? "" : "; ", failure.message());
    full = full || absl::IsResourceExhausted(failure);
  }
  if (reasons.size() > kAllWords) reasons.replace(kAllWords, reasons.npos, "…");
  const std::string message = absl::StrCat(
      "no node of --", config_.role, "-peers encoded the ", config_.what, " (",
      reasons, "); start one that holds this model's tower (--", config_.role,
      "=lazy), or try again");
  return full ? absl::ResourceExhaustedError(message)
              : absl::UnavailableError(message);
}

void MediaPeers::Probe() {
  for (size_t peer = 0; peer < size(); ++peer) {
    channel(peer).Ask(
        StatusQuery{config_.role}, absl::FromChrono(config_.probe_pause),
        [self = caf::actor_cast<caf::actor>(self_),
         peer](absl::StatusOr<WireMessage> answer) {
          caf::anon_send(self, PeerProbed{peer, Share(std::move(answer))});
        });
  }
  SendLater(config_.probe_pause, ProbePeers{});
}

void MediaPeers::TakeProbe(const PeerProbed& probed) {
  MediaPeer& peer = peers_[probed.peer].status;
  const absl::StatusOr<WireMessage>& answer = *probed.answer;
  peer.alive = answer.ok() && TowerOf(*answer) == config_.tower;
  if (peer.alive) {
    peer.reason.clear();
  } else if (!answer.ok()) {
    peer.reason = std::string(answer.status().message());
  } else {
    peer.reason = "it serves another model, or another packing of it";
  }
}

std::vector<MediaPeer> MediaPeers::Statuses() const {
  std::vector<MediaPeer> statuses;
  statuses.reserve(size());
  for (const Peer& peer : peers_) statuses.push_back(peer.status);
  return statuses;
}

}  // namespace lapidary
