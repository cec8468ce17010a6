#include "actors/encoder.h"

#include <utility>

#include "actors/process_memory.h"

namespace lapidary {

EncoderActor::behavior_type Encoder(EncoderActor::pointer,
                                    std::shared_ptr<const ServedModel> model) {
  return {
      [](const Start&) { return Started{}; },
      [model](const Encode& encode) { return EncodeRequest(*model, encode); },
      [model = std::move(model)](const StatusQuery&) {
        return ProcessStatus{ProcessResidentBytes(),
                             MappedResidentBytes(model->folder)};
      },
  };
}

}  // namespace lapidary
