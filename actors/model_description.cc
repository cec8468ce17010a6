#include "actors/model_description.h"

#include "absl/strings/str_cat.h"
#include "actors/requests.h"
#include "kernels/text/config.h"

namespace lapidary {

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
  const ModelConfig& config = model.config();
  if (tokenizer != nullptr &&
      tokenizer->TokenId("<image_soft_token>") != config.image_token_id) {
    return absl::StrCat("model \"", model.name(),
                        "\" has a tokenizer and a config.json that disagree "
                        "about <image_soft_token>");
  }
  if (!model.has_vision_tower() || !config.image_token_id.has_value()) {
    return absl::StrCat("model \"", model.name(),
                        "\" was packed from a checkpoint without a vision "
                        "tower; it takes text parts only");
  }
  if (off) {
    return "this node was started with --vision=off; it takes text parts only";
  }
  return "";
}

}  // namespace lapidary
