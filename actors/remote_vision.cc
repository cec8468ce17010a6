#include "actors/remote_vision.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/soft_token_value.h"
#include "storage/file_io.h"

namespace lapidary {
namespace {

constexpr std::chrono::milliseconds kDropPause{20};

// Failures that are the peer's, not the image's: another one may do better.
bool IsPeers(const absl::Status& status) {
  return !absl::IsInvalidArgument(status);
}

// A peer says no more than this of what went wrong, and all peers together:
// a status travels in a header, of which gRPC takes 8 KiB.
constexpr size_t kPeerWords = 500, kAllWords = 4000;

// What is said where all peers failed: RESOURCE_EXHAUSTED if one of them only
// has too much to do.
absl::Status AllFailed(const std::vector<absl::Status>& failures) {
  std::string reasons;
  bool full = false;
  for (const absl::Status& failure : failures) {
    absl::StrAppend(&reasons, reasons.empty() ? "" : "; ", failure.message());
    full = full || absl::IsResourceExhausted(failure);
  }
  if (reasons.size() > kAllWords) reasons.replace(kAllWords, reasons.npos, "…");
  const std::string message = absl::StrCat(
      "no node of --vision-peers encoded the image (", reasons,
      "); start one that holds this model's tower (--vision=lazy), or try "
      "again");
  return full ? absl::ResourceExhaustedError(message)
              : absl::UnavailableError(message);
}

}  // namespace

void RemoteVisionState::Open(RemoteVisionConfig config) {
  config_ = std::move(config);
  cache_ = std::make_unique<MediaCache>(config_.cache_bytes);
  const size_t answer_bytes =
      config_.rows * config_.width * sizeof(float) + (size_t{64} << 10);
  for (const std::string& address : config_.peers) {
    Peer& peer = peers_.emplace_back();
    peer.status.address = address;
    peer.status.reason = "it has not answered yet";
    peer.channel = std::make_unique<PeerChannel>(address, answer_bytes);
  }
}

RemoteVisionState::~RemoteVisionState() {
  const absl::Status lost =
      absl::UnavailableError("the vision actor was lost; try again");
  for (const auto& [id, job] : jobs_) job.Answer({lost, {}});
}

// --- Images -----------------------------------------------------------------

caf::result<EncodedMedium> RemoteVisionState::Take(const EncodeImage& encode) {
  const std::string key =
      encode.key.empty() ? Checksum(*encode.file) : encode.key;
  kernels::Tensor known = cache_->Find(key, *encode.file);
  if (!known.empty()) {
    ++counters_.cache_hits;
    return EncodedMedium{absl::OkStatus(), std::move(known)};
  }
  auto promise = self_->make_response_promise<EncodedMedium>();
  for (auto& [id, job] : jobs_) {
    if (!job.Is(key, *encode.file)) continue;
    ++counters_.cache_hits;
    job.askers.push_back({promise, encode.cancelled});
    return promise;
  }
  const size_t bytes = encode.file->size();
  if (!jobs_.empty() && waiting_bytes_ + bytes > config_.max_waiting_bytes) {
    promise.deliver(EncodedMedium{
        absl::ResourceExhaustedError(absl::StrCat(
            jobs_.size(), " images of ", waiting_bytes_,
            " bytes are with other nodes, ", config_.max_waiting_bytes,
            " may be; try again later")),
        {}});
    return promise;
  }
  ++counters_.cache_misses;
  waiting_bytes_ += bytes;
  const uint64_t id = next_job_++;
  Job& job = jobs_[id];
  job.key = key;
  job.file = encode.file;
  job.askers.push_back({promise, encode.cancelled});
  job.began = std::chrono::steady_clock::now();
  Send(id);
  if (!std::exchange(drop_armed_, true)) {
    self_->delayed_send(self_, kDropPause, DropUnwanted{});
  }
  return promise;
}

size_t RemoteVisionState::Choose(const Job& job) const {
  size_t best = peers_.size();
  const auto rank = [this](size_t peer) {
    return std::make_pair(!peers_[peer].status.alive,
                          peers_[peer].on_their_way);
  };
  for (size_t peer = 0; peer < peers_.size(); ++peer) {
    if (job.tried.count(peer) != 0) continue;
    if (best == peers_.size() || rank(peer) < rank(best)) best = peer;
  }
  return best;
}

void RemoteVisionState::Send(uint64_t id) {
  Job& job = jobs_.at(id);
  const size_t chosen = Choose(job);
  if (chosen == peers_.size()) {
    return Finish(id, {AllFailed(job.failures), {}});
  }
  job.tried.insert(chosen);
  ++peers_[chosen].on_their_way;
  const auto self = caf::actor_cast<RemoteVisionActor>(self_);
  job.ask = peers_[chosen].channel->Ask(
      EncodeImage{job.file, nullptr, "", config_.tower}, config_.timeout,
      [self, id, chosen](absl::StatusOr<WireMessage> answer) {
        caf::anon_send(
            self,
            PeerAnswered{id, chosen,
                         std::make_shared<const absl::StatusOr<WireMessage>>(
                             std::move(answer))});
      });
}

absl::StatusOr<EncodedMedium> RemoteVisionState::Check(
    const absl::StatusOr<WireMessage>& answer) const {
  if (!answer.ok()) {
    // Said by gRPC or by the other node's door, whatever the code.
    return absl::UnavailableError(answer.status().message());
  }
  const auto* image = std::get_if<EncodedMedium>(&*answer);
  if (image == nullptr) {
    return absl::InternalError("it answered with another message");
  }
  if (!image->status.ok()) {
    const absl::Status said(image->status.code(),
                            image->status.message().substr(0, kPeerWords));
    if (IsPeers(said)) return said;
    return EncodedMedium{said, {}};
  }
  const kernels::Tensor& rows = image->rows;
  if (rows.empty() || rows.dtype() != kernels::DType::kF32 ||
      rows.shape() != std::vector<int64_t>{config_.rows, config_.width}) {
    return absl::InternalError(absl::StrCat("its soft tokens are not f32 [",
                                            config_.rows, ", ", config_.width,
                                            "]"));
  }
  const auto* values = static_cast<const float*>(rows.raw());
  if (!std::all_of(values, values + config_.rows * config_.width,
                   IsSoftTokenValue)) {
    return absl::InternalError("its soft tokens are no embeddings");
  }
  return *image;
}

void RemoteVisionState::TakeAnswer(const PeerAnswered& answered) {
  Peer& peer = peers_[answered.peer];
  --peer.on_their_way;
  const auto it = jobs_.find(answered.job);
  if (it == jobs_.end()) return;  // nobody waited for it any more
  const absl::StatusOr<EncodedMedium> image = Check(*answered.answer);
  if (!image.ok()) {
    peer.status.alive = absl::IsResourceExhausted(image.status());
    peer.status.reason = std::string(image.status().message());
    it->second.failures.emplace_back(
        image.status().code(),
        absl::StrCat(peer.status.address, ": ", image.status().message()));
    return Send(answered.job);
  }
  peer.status.alive = true;
  if (image->status.ok()) {
    ++peer.status.images;
    ++counters_.images;
    counters_.encode_ns +=
        std::chrono::nanoseconds(std::chrono::steady_clock::now() -
                                 it->second.began)
            .count();
    cache_->Add(it->second.key, it->second.file, image->rows);
  }
  Finish(answered.job, *image);
}

void RemoteVisionState::Finish(uint64_t id, const EncodedMedium& answer) {
  const auto node = jobs_.extract(id);
  waiting_bytes_ -= node.mapped().file->size();
  node.mapped().Answer(answer);
}

void RemoteVisionState::Drop() {
  std::vector<uint64_t> unwanted;
  for (const auto& [id, job] : jobs_) {
    if (!job.wanted()) unwanted.push_back(id);
  }
  for (uint64_t id : unwanted) {
    jobs_.at(id).ask->Cancel();
    Finish(id, {Unwanted("image"), {}});
  }
  drop_armed_ = !jobs_.empty();
  if (drop_armed_) self_->delayed_send(self_, kDropPause, DropUnwanted{});
}

// --- Peers ------------------------------------------------------------------

void RemoteVisionState::Probe() {
  const auto self = caf::actor_cast<RemoteVisionActor>(self_);
  for (size_t peer = 0; peer < peers_.size(); ++peer) {
    peers_[peer].channel->Ask(
        StatusQuery{}, absl::FromChrono(config_.probe_pause),
        [self, peer](absl::StatusOr<WireMessage> answer) {
          caf::anon_send(
              self,
              PeerProbed{peer,
                         std::make_shared<const absl::StatusOr<WireMessage>>(
                             std::move(answer))});
        });
  }
  self_->delayed_send(self_, config_.probe_pause, ProbePeers{});
}

void RemoteVisionState::TakeProbe(const PeerProbed& probed) {
  VisionPeer& peer = peers_[probed.peer].status;
  const absl::StatusOr<WireMessage>& answer = *probed.answer;
  const VisionStatus* status =
      answer.ok() ? std::get_if<VisionStatus>(&*answer) : nullptr;
  peer.alive = status != nullptr && status->tower == config_.tower;
  if (peer.alive) {
    peer.reason.clear();
  } else if (!answer.ok()) {
    peer.reason = std::string(answer.status().message());
  } else {
    peer.reason = "it serves another model, or another packing of it";
  }
}

VisionStatus RemoteVisionState::Status() const {
  VisionStatus status = counters_;
  status.cache_bytes = cache_->bytes();
  status.cache_capacity = cache_->capacity();
  status.waiting = static_cast<int64_t>(jobs_.size());
  status.tower = config_.tower;
  for (const Peer& peer : peers_) status.peers.push_back(peer.status);
  return status;
}

RemoteVisionActor::behavior_type RemoteVision(
    RemoteVisionActor::stateful_pointer<RemoteVisionState> self,
    RemoteVisionConfig config) {
  self->state.Open(std::move(config));
  return {
      [self](const Start&) -> caf::result<Started> {
        self->state.Probe();
        return Started{};
      },
      [self](const EncodeImage& encode) -> caf::result<EncodedMedium> {
        return self->state.Take(encode);
      },
      [self](const StatusQuery&) { return self->state.Status(); },
      [self](const PeerAnswered& answered) {
        self->state.TakeAnswer(answered);
      },
      [self](const PeerProbed& probed) { self->state.TakeProbe(probed); },
      [self](const ProbePeers&) { self->state.Probe(); },
      [self](const DropUnwanted&) { self->state.Drop(); },
  };
}

}  // namespace lapidary
