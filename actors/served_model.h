// What a node knows of the model that it serves, for those who check requests.
#ifndef LAPIDARY_ACTORS_SERVED_MODEL_H_
#define LAPIDARY_ACTORS_SERVED_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "storage/media_policy.h"
#include "storage/model_config.h"
#include "storage/tokenizer.h"

namespace lapidary {

// What requests are checked against.
struct ServedModel {
  std::string name;
  std::string folder;
  ModelConfig config;
  // Null for a model packed without one: it speaks token ids alone.
  std::shared_ptr<const Tokenizer> tokenizer;
  size_t max_text_bytes = size_t{1} << 20;
  // Why image parts are refused; empty where a vision actor takes them.
  std::string no_images;
  // Likewise audio parts.
  std::string no_sounds;
  MediaPolicy media;  // what of URLs and files is fetched
  int32_t default_max_tokens = 1024;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SERVED_MODEL_H_
