// Parses, checks and tokenizes requests. A megabyte of text takes a while, so
// this is not done on gRPC's threads, nor on those of light actors; for the
// same reason it is the one that measures the process's memory. Keeps nothing
// between requests.
#ifndef LAPIDARY_ACTORS_ENCODER_H_
#define LAPIDARY_ACTORS_ENCODER_H_

#include <memory>

#include "actors/messages.h"
#include "actors/requests.h"

namespace lapidary {

// Spawn it detached.
EncoderActor::behavior_type Encoder(EncoderActor::pointer self,
                                    std::shared_ptr<const ServedModel> model);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_ENCODER_H_
