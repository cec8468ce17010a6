#include "storage/text_config_reader.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

using kernels::text::LayerType;
using kernels::text::TextConfig;

constexpr double kDefaultRopeTheta = 1e6;
constexpr double kDefaultRopeLocalTheta = 1e4;

absl::Status Unimplemented(const JsonFields& fields, absl::string_view name,
                           absl::string_view wanted) {
  return absl::UnimplementedError(absl::StrCat(
      fields.Name(name), " is ", JsonForMessage(*fields.Find(name)),
      ": Gemma 3n has ", wanted));
}

// A number that must be above 0 and representable as float.
float Positive(JsonFields* fields, absl::string_view name, double fallback) {
  const double value = fields->Number(name, fallback);
  if (!(value > 0) || value > std::numeric_limits<float>::max()) {
    fields->Fail(name, "want a number above 0");
  }
  return static_cast<float>(value);
}

void ReadSizes(JsonFields* fields, TextConfig* c) {
  c->vocab_size = fields->Int("vocab_size", 262400, 1, kMaxDim);
  c->vocab_size_per_layer_input =
      fields->Int("vocab_size_per_layer_input", 262144, 1, kMaxDim);
  c->hidden_size = fields->Int("hidden_size", 2048, 1, kMaxDim);
  c->hidden_size_per_layer_input =
      fields->Int("hidden_size_per_layer_input", 256, 1, kMaxDim);
  c->num_hidden_layers = fields->Int("num_hidden_layers", 35, 1, kMaxLayers);
  c->num_attention_heads = fields->Int("num_attention_heads", 8, 1, kMaxDim);
  c->num_key_value_heads = fields->Int("num_key_value_heads", 2, 1, kMaxDim);
  c->head_dim = fields->Int("head_dim", 256, 2, kMaxDim);
  c->max_position_embeddings =
      fields->Int("max_position_embeddings", 32768, 1, int64_t{1} << 24);
  c->sliding_window = fields->Int("sliding_window", 512, 1, int64_t{1} << 24);
  c->num_kv_shared_layers =
      fields->Int("num_kv_shared_layers", 15, 0, kMaxLayers);
  c->altup_num_inputs = fields->Int("altup_num_inputs", 4, 2, 8);
  c->altup_active_idx = fields->Int("altup_active_idx", 0, 0, 7);
  c->altup_correct_scale = fields->Bool("altup_correct_scale", true);
  c->laurel_rank = fields->Int("laurel_rank", 64, 1, kMaxDim);
}

void ReadNumbers(JsonFields* fields, TextConfig* c) {
  const double eps = fields->Number("rms_norm_eps", 1e-6);
  if (!(eps >= 0) || eps > 1) {
    fields->Fail("rms_norm_eps", "want a number from 0 to 1");
  }
  c->rms_norm_eps = static_cast<float>(eps);
  // Hugging Face's older classes allow null for both: no cap, no clipping.
  if (!fields->IsNull("final_logit_softcapping")) {
    c->final_logit_softcapping =
        Positive(fields, "final_logit_softcapping", 30.0);
  }
  c->altup_coef_clip = fields->IsNull("altup_coef_clip")
                           ? std::numeric_limits<float>::infinity()
                           : Positive(fields, "altup_coef_clip", 120.0);
}

// Null or absent: every fifth layer is full.
void ReadLayerTypes(JsonFields* fields, TextConfig* c) {
  constexpr absl::string_view kName = "layer_types";
  const size_t layers = c->num_hidden_layers;
  const Json* value = fields->Find(kName);
  if (value == nullptr) {
    for (size_t layer = 0; layer < layers; ++layer) {
      c->layer_types.push_back((layer + 1) % 5 == 0 ? LayerType::kFull
                                                    : LayerType::kSliding);
    }
    return;
  }
  if (!value->is_array() || value->size() != layers) {
    fields->Fail(kName, absl::StrCat("want a list of num_hidden_layers = ",
                                     layers, " layer types"));
    return;
  }
  for (size_t layer = 0; layer < layers; ++layer) {
    const Json& type = (*value)[layer];
    if (type == "sliding_attention") {
      c->layer_types.push_back(LayerType::kSliding);
    } else if (type == "full_attention") {
      c->layer_types.push_back(LayerType::kFull);
    } else {
      fields->FailAt(absl::StrCat(kName, "[", layer, "]"), type,
                     "want \"sliding_attention\" or \"full_attention\"");
      return;
    }
  }
}

// Null or absent: 0.95 in the first ten layers of a model that has more.
void ReadSparsity(JsonFields* fields, TextConfig* c) {
  constexpr absl::string_view kName = "activation_sparsity_pattern";
  c->activation_sparsity_pattern =
      fields->NumberOrList(kName, 0.0, c->num_hidden_layers, 0.0, 1.0);
  if (!fields->Has(kName) && c->num_hidden_layers > 10) {
    for (int64_t layer = 0; layer < 10; ++layer) {
      c->activation_sparsity_pattern[layer] = 0.95f;
    }
  }
}

// Only rope_type "default", under its newer or older name, is Gemma 3n's.
absl::Status CheckRopeType(const JsonFields& fields) {
  for (const char* name : {"rope_type", "type"}) {
    const Json* type = fields.Find(name);
    if (type != nullptr && *type != "default") {
      return Unimplemented(fields, name, "the default rope only");
    }
  }
  return absl::OkStatus();
}

// The theta of one layer type: rope_parameters.<type>.rope_theta, or the older
// field `old_name`. Both are read; they must not disagree.
float ReadTheta(JsonFields* fields, const char* type, const char* old_name,
                double fallback) {
  const float old_theta = Positive(fields, old_name, fallback);
  const Json* parameters = fields->Find("rope_parameters");
  if (parameters == nullptr) return old_theta;
  JsonFields all(*parameters, fields->Name("rope_parameters"));
  const Json* entry = all.Find(type);
  fields->Fail(all.status());
  if (entry == nullptr) return old_theta;
  JsonFields one(*entry, all.Name(type));
  const float theta = Positive(&one, "rope_theta", old_theta);
  fields->Fail(one.status());
  fields->Fail(CheckRopeType(one));
  if (fields->Has(old_name) && theta != old_theta) {
    fields->Fail(old_name, absl::StrCat("contradicts ", one.Name("rope_theta"),
                                        " = ", theta, "; remove one of them"));
  }
  return theta;
}

void ReadRope(JsonFields* fields, TextConfig* c) {
  if (const Json* parameters = fields->Find("rope_parameters")) {
    if (parameters->is_object() && parameters->contains("rope_theta")) {
      fields->Fail("rope_parameters",
                   "want one object for each of \"full_attention\" and "
                   "\"sliding_attention\"");
    }
  }
  if (const Json* scaling = fields->Find("rope_scaling")) {
    const JsonFields old(*scaling, fields->Name("rope_scaling"));
    fields->Fail(old.status());
    fields->Fail(CheckRopeType(old));
  }
  c->rope_theta =
      ReadTheta(fields, "full_attention", "rope_theta", kDefaultRopeTheta);
  c->rope_local_base_freq =
      ReadTheta(fields, "sliding_attention", "rope_local_base_freq",
                kDefaultRopeLocalTheta);
}

// The ids of a config may be absent, null or (eos) a list; generation has the
// whole list, the decoder's config the first.
int32_t ReadId(JsonFields* fields, absl::string_view name, int32_t fallback,
               int64_t vocab_size) {
  const Json* value = fields->Find(name);
  if (value == nullptr) return fallback;
  if (value->is_array() && !value->empty()) {
    return static_cast<int32_t>(
        fields->IntOrList(name, fallback, value->size(), 0, vocab_size - 1)
            .front());
  }
  return static_cast<int32_t>(fields->Int(name, fallback, 0, vocab_size - 1));
}

// Fields that would change the arithmetic if they had another value.
absl::Status CheckUnsupported(JsonFields* fields) {
  if (fields->String("hidden_activation", "gelu_pytorch_tanh") !=
      "gelu_pytorch_tanh") {
    return Unimplemented(*fields, "hidden_activation", "gelu_pytorch_tanh");
  }
  if (fields->Bool("attention_bias", false)) {
    return Unimplemented(*fields, "attention_bias", "no biases (false)");
  }
  if (!fields->Bool("tie_word_embeddings", true)) {
    return Unimplemented(*fields, "tie_word_embeddings",
                         "its head tied to embed_tokens (true)");
  }
  return absl::OkStatus();
}

// What only fails together: one field against another.
void CheckTogether(JsonFields* fields, const TextConfig& c) {
  if (c.vocab_size_per_layer_input > c.vocab_size) {
    fields->Fail("vocab_size_per_layer_input",
                 absl::StrCat("want at most vocab_size = ", c.vocab_size));
  }
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    fields->Fail("num_key_value_heads",
                 absl::StrCat("want a divisor of num_attention_heads = ",
                              c.num_attention_heads));
  }
  if (c.hidden_size % c.num_attention_heads != 0) {
    fields->Fail("hidden_size",
                 absl::StrCat("want a multiple of num_attention_heads = ",
                              c.num_attention_heads));
  }
  if (c.head_dim % 2 != 0) {
    fields->Fail("head_dim", "want an even number: rope turns pairs");
  }
  if (c.query_width() > kMaxDim) {
    fields->Fail("head_dim",
                 absl::StrCat("times num_attention_heads = ",
                              c.num_attention_heads, " it is above ", kMaxDim));
  }
  if (c.num_hidden_layers * c.hidden_size_per_layer_input > 8 * kMaxDim) {
    fields->Fail("hidden_size_per_layer_input",
                 absl::StrCat("times num_hidden_layers = ", c.num_hidden_layers,
                              " it is above ", 8 * kMaxDim));
  }
  if (c.altup_active_idx >= c.altup_num_inputs) {
    fields->Fail("altup_active_idx", absl::StrCat("want less than "
                                                  "altup_num_inputs = ",
                                                  c.altup_num_inputs));
  }
  if (c.num_kv_shared_layers >= c.num_hidden_layers) {
    fields->Fail("num_kv_shared_layers",
                 absl::StrCat("want less than num_hidden_layers = ",
                              c.num_hidden_layers));
  }
}

// Every layer that shares keys and values needs an owner of its type below.
void CheckDonors(JsonFields* fields, const TextConfig& c) {
  for (int64_t layer = c.first_kv_shared_layer(); layer < c.num_hidden_layers;
       ++layer) {
    if (c.layer_types[c.KvSource(layer)] == c.layer_types[layer]) continue;
    fields->Fail(absl::InvalidArgumentError(absl::StrCat(
        fields->Name("layer_types"), "[", layer, "] is \"",
        c.layer_types[layer] == LayerType::kFull ? "full" : "sliding",
        "_attention\", and shares keys and values (num_kv_shared_layers = ",
        c.num_kv_shared_layers, "): want a layer of that type among the first ",
        c.first_kv_shared_layer())));
  }
}

}  // namespace

absl::StatusOr<TextConfig> ReadTextConfig(const Json& object,
                                          const std::string& path) {
  JsonFields fields(object, path);
  TextConfig c;
  ReadSizes(&fields, &c);
  ReadNumbers(&fields, &c);
  // The lists below are as long as there are layers.
  if (!fields.ok()) return fields.status();
  c.intermediate_size = fields.IntOrList("intermediate_size", 16384,
                                         c.num_hidden_layers, 1, kMaxDim);
  ReadLayerTypes(&fields, &c);
  ReadSparsity(&fields, &c);
  ReadRope(&fields, &c);
  c.pad_token_id = ReadId(&fields, "pad_token_id", 0, c.vocab_size);
  c.eos_token_id = ReadId(&fields, "eos_token_id", 1, c.vocab_size);
  c.bos_token_id = ReadId(&fields, "bos_token_id", 2, c.vocab_size);
  fields.Fail(CheckUnsupported(&fields));
  CheckTogether(&fields, c);
  if (!fields.ok()) return fields.status();
  CheckDonors(&fields, c);
  if (!fields.ok()) return fields.status();
  return c;
}

}  // namespace lapidary
