// Actor messages as the Protobuf of proto/lapidary/internal/wire.proto: the one
// place that knows every field of every message. Tensors stay outside, and are
// named by their number.
#ifndef LAPIDARY_ACTORS_MESSAGES_PROTO_H_
#define LAPIDARY_ACTORS_MESSAGES_PROTO_H_

#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "proto/lapidary/internal/wire.pb.h"

namespace lapidary {

// Every message that can leave a process.
using WireMessage =
    std::variant<Encode, Encoded, Submit, Accepted, Cancel, Progress, Ended,
                 PleRead, PleRows, Step, StepResult, Release, StageGauges,
                 RoleEvent, StatusQuery, SequencerStatus, PleStatus,
                 ProcessStatus, DirectoryStatus, EncodeImage, EncodedMedium,
                 VisionStatus, EncodeSound, OpenSound, PushSound, EndSound,
                 SoundTaken, LiveSound, AudioStatus>;

// Sets the body of `header`, and appends the message's tensors in the order in
// which the body numbers them, from 1.
void ToProto(const WireMessage& message, internal::Header* header,
             std::vector<kernels::Tensor>* tensors);

// The body of `header`; INVALID_ARGUMENT for a value that the message cannot
// have and for a tensor that is not there.
absl::StatusOr<WireMessage> FromProto(
    const internal::Header& header,
    const std::vector<kernels::Tensor>& tensors);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MESSAGES_PROTO_H_
