// The actors of calls with one answer: Tokenize and Detokenize, and Status.
#ifndef LAPIDARY_ACTORS_UNARY_CALLS_H_
#define LAPIDARY_ACTORS_UNARY_CALLS_H_

#include <memory>
#include <string>

#include "actors/messages.h"
#include "actors/response_stream.h"
#include "actors/stream_call.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

struct UnaryCallState {
  // A call whose actor is lost must end as well.
  ~UnaryCallState();

  std::shared_ptr<CallContext> context;
  std::shared_ptr<UnaryCall> call;
  v1::StatusResponse status;
  int open_questions = 0;
};

// Has the encoder answer; ends with it.
caf::behavior EncodeCall(caf::stateful_actor<UnaryCallState>* self,
                         std::shared_ptr<CallContext> context, Encode encode,
                         std::shared_ptr<UnaryCall> call);

// Fills in what each actor says of itself; one that does not answer within a
// second is left out. `base` holds what the node itself knows.
caf::behavior StatusCall(caf::stateful_actor<UnaryCallState>* self,
                         std::shared_ptr<CallContext> context,
                         v1::StatusResponse base,
                         std::shared_ptr<UnaryCall> call);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_UNARY_CALLS_H_
