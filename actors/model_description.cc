#include "actors/model_description.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "actors/requests.h"
#include "kernels/text/config.h"

namespace lapidary {
namespace {

struct Modality {
  const char* part;
  const char* role;  // its actor's
  const char* flag;
  std::optional<int32_t> token;
  bool has_tower;
};

std::string WhyNot(const PackedModel& model, const Tokenizer* tokenizer,
                   bool off, const Modality& modality) {
  const std::string token = absl::StrCat("<", modality.part, "_soft_token>");
  if (modality.has_tower && tokenizer != nullptr &&
      tokenizer->TokenId(token) != modality.token) {
    return absl::StrCat("model \"", model.name(),
                        "\" has a tokenizer and a config.json that disagree "
                        "about ",
                        token);
  }
  if (!modality.has_tower || !modality.token.has_value()) {
    return absl::StrCat("model \"", model.name(),
                        "\" was packed from a checkpoint without ",
                        modality.role[0] == 'a' ? "an " : "a ", modality.role,
                        " tower; it takes no ", modality.part, " parts");
  }
  if (off) {
    return absl::StrCat("this node was started with --", modality.flag,
                        "=off and takes no ", modality.part,
                        " parts; start it with --", modality.flag,
                        "=lazy to have them taken");
  }
  return "";
}

}  // namespace

v1::Model DescribeModel(const PackedModel& packed) {
  const kernels::text::TextConfig& text = packed.config().text;
  v1::Model model;
  model.set_name(packed.name());
  model.set_architecture(packed.config().architecture);
  model.set_weight_dtype(kernels::NameOf(packed.dtype()));
  model.set_context_tokens(static_cast<int32_t>(text.max_position_embeddings));
  model.set_vocabulary(static_cast<int32_t>(text.vocab_size));
  model.set_text_vocabulary(
      static_cast<int32_t>(text.vocab_size_per_layer_input));
  model.set_layers(static_cast<int32_t>(text.num_hidden_layers));
  model.mutable_parameters()->set_text(packed.parameters().text);
  model.mutable_parameters()->set_ple(packed.parameters().ple);
  model.mutable_parameters()->set_vision(packed.parameters().vision);
  model.mutable_parameters()->set_audio(packed.parameters().audio);
  *model.mutable_default_sampling() =
      DefaultSampling(packed.config().generation);
  for (int32_t id : packed.config().generation.eos_token_ids) {
    model.add_eos_ids(id);
  }
  return model;
}

std::string WhyNoImages(const PackedModel& model, const Tokenizer* tokenizer,
                        bool off) {
  return WhyNot(model, tokenizer, off,
                {"image", "vision", "vision", model.config().image_token_id,
                 model.has_vision_tower()});
}

std::string WhyNoSounds(const PackedModel& model, const Tokenizer* tokenizer,
                        bool off, const std::string& flag) {
  return WhyNot(model, tokenizer, off,
                {"audio", "audio", flag.c_str(), model.config().audio_token_id,
                 model.has_audio_tower()});
}

}  // namespace lapidary
