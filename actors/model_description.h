// What a node tells of its packed model.
#ifndef LAPIDARY_ACTORS_MODEL_DESCRIPTION_H_
#define LAPIDARY_ACTORS_MODEL_DESCRIPTION_H_

#include <string>

#include "proto/lapidary/v1/lapidary.pb.h"
#include "storage/packed_model.h"
#include "storage/tokenizer.h"

namespace lapidary {

// As ListModels answers.
v1::Model DescribeModel(const PackedModel& packed);

// Why image parts are refused; empty where they are taken.
//   tokenizer  null for a model without one
//   off        the node was told to refuse them
std::string WhyNoImages(const PackedModel& model, const Tokenizer* tokenizer,
                        bool off);
// The same of audio parts; `flag` turned them off.
std::string WhyNoSounds(const PackedModel& model, const Tokenizer* tokenizer,
                        bool off, const std::string& flag);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MODEL_DESCRIPTION_H_
