#include "storage/model_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/audio_config_reader.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/model_files.h"
#include "storage/text_config_reader.h"
#include "storage/vision_config_reader.h"

namespace lapidary {
namespace {

constexpr char kFull[] = "Gemma3nForConditionalGeneration";
constexpr char kTextOnly[] = "Gemma3nForCausalLM";

// More than any published file has; keeps a wrong path from filling memory.
constexpr size_t kMaxConfigBytes = size_t{16} << 20;

absl::StatusOr<std::string> ReadArchitecture(JsonFields* fields) {
  const std::string type = fields->String("model_type", "");
  std::string architecture;
  if (const Json* list = fields->Find("architectures")) {
    if (!list->is_array() || list->empty() || !list->front().is_string()) {
      fields->Fail("architectures", "want a list with one class name");
      return fields->status();
    }
    architecture = list->front().get<std::string>();
  }
  if (!fields->ok()) return fields->status();
  if (architecture.empty()) {
    architecture = type == "gemma3n"        ? kFull
                   : type == "gemma3n_text" ? kTextOnly
                                            : "";
  }
  const std::string expected = architecture == kFull       ? "gemma3n"
                               : architecture == kTextOnly ? "gemma3n_text"
                                                           : "";
  if (expected.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        kConfigFile, ": architecture ",
        JsonForMessage(architecture.empty() ? type : architecture),
        " is not Gemma 3n; want ", kFull, " (model_type gemma3n) or ",
        kTextOnly, " (gemma3n_text)"));
  }
  if (!type.empty() && type != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(kConfigFile, ": model_type is ", JsonForMessage(type),
                     ", but architectures says ", architecture, ": want \"",
                     expected, "\""));
  }
  return architecture;
}

// Ids of the multimodal placeholders, checked if a tower can produce them.
// Hugging Face's class defaults stand in where a tower is there but its id is
// not written.
void ReadModality(JsonFields* fields, bool present, absl::string_view begin,
                  absl::string_view end, absl::string_view token,
                  const std::vector<int32_t>& defaults,
                  std::optional<int32_t>* begin_id,
                  std::optional<int32_t>* end_id,
                  std::optional<int32_t>* token_id, int64_t vocab_size) {
  const absl::string_view names[] = {begin, end, token};
  std::optional<int32_t>* const ids[] = {begin_id, end_id, token_id};
  for (int i = 0; i < 3; ++i) {
    if (present) {
      *ids[i] = static_cast<int32_t>(
          fields->Int(names[i], defaults[i], 0, vocab_size - 1));
      if (!fields->Has(names[i]) && defaults[i] >= vocab_size) {
        fields->Fail(names[i],
                     absl::StrCat("want an id below vocab_size = ", vocab_size,
                                  ", because its tower is configured"));
      }
    } else {
      const auto id = fields->OptionalInt(names[i], 0, kMaxDim);
      if (id.has_value() && *id < vocab_size) {
        *ids[i] = static_cast<int32_t>(*id);
      }
    }
  }
}

void ReadTowers(JsonFields* fields, ModelConfig* config) {
  config->has_vision = fields->Has("vision_config");
  config->has_audio = fields->Has("audio_config");
  for (const char* name : {"vision_config", "audio_config"}) {
    const Json* tower = fields->Find(name);
    if (tower != nullptr && !tower->is_object()) {
      fields->Fail(name, "want an object");
    }
  }
  if (const Json* vision = fields->Find("vision_config")) {
    config->vision = ReadVisionConfig(*vision, fields->Name("vision_config"),
                                      config->text.hidden_size);
  }
  if (const Json* audio = fields->Find("audio_config")) {
    config->audio = ReadAudioConfig(*audio, fields->Name("audio_config"),
                                    config->text.hidden_size);
  }
  const int64_t vocab_size = config->text.vocab_size;
  ReadModality(fields, config->has_vision, "boi_token_id", "eoi_token_id",
               "image_token_id", {255999, 262144, 262145},
               &config->boi_token_id, &config->eoi_token_id,
               &config->image_token_id, vocab_size);
  ReadModality(fields, config->has_audio, "boa_token_id", "eoa_token_id",
               "audio_token_id", {256000, 262272, 262273},
               &config->boa_token_id, &config->eoa_token_id,
               &config->audio_token_id, vocab_size);
  config->vision_soft_tokens_per_image = static_cast<int32_t>(
      fields->Int("vision_soft_tokens_per_image", 256, 1, 1 << 16));
  config->audio_soft_tokens_per_image = static_cast<int32_t>(
      fields->Int("audio_soft_tokens_per_image", 188, 1, 1 << 16));
}

// One id or a list of them; *ids is left alone where the field is absent.
void ReadEosIds(JsonFields* fields, int64_t vocab_size,
                std::vector<int32_t>* ids) {
  constexpr absl::string_view kName = "eos_token_id";
  const Json* value = fields->Find(kName);
  if (value == nullptr) return;
  const int64_t count = value->is_array() ? value->size() : 1;
  if (count == 0 || count > 64) {
    fields->Fail(kName, "want an id or a list of 1 to 64 ids");
    return;
  }
  ids->clear();
  for (const int64_t id :
       fields->IntOrList(kName, 0, count, 0, vocab_size - 1)) {
    ids->push_back(static_cast<int32_t>(id));
  }
}

float InRange(JsonFields* fields, absl::string_view name, float fallback,
              double min, double max) {
  if (!fields->Has(name)) return fallback;
  const double value = fields->Number(name, fallback);
  if (!(value >= min && value <= max)) {
    fields->Fail(name, absl::StrCat("want a number from ", min, " to ", max));
  }
  return static_cast<float>(value);
}

// In (0, max]. Judged as the float that is kept: a double above 0 may be none.
float AboveZero(JsonFields* fields, absl::string_view name, float fallback,
                float max) {
  if (!fields->Has(name)) return fallback;
  const double value = fields->Number(name, fallback);
  const bool inside = value <= max && static_cast<float>(value) > 0;
  if (!inside) {
    fields->Fail(name, absl::StrCat("want a number in (0, ", max, "]"));
  }
  return inside ? static_cast<float>(value) : fallback;
}

absl::Status ReadImageSize(const Json& json, const std::string& path,
                           ModelConfig* config) {
  JsonFields outer(json, path);
  const Json* processor = outer.Find("image_processor");
  const std::string inside =
      processor == nullptr ? path : outer.Name("image_processor");
  JsonFields fields(processor == nullptr ? json : *processor, inside);
  const Json* size = fields.Find("size");
  if (size == nullptr) return absl::OkStatus();
  JsonFields sides(*size, fields.Name("size"));
  constexpr int64_t kMostPixels = 4096;
  const int64_t height = sides.Int("height", 768, 1, kMostPixels);
  const int64_t width = sides.Int("width", 768, 1, kMostPixels);
  if (!sides.ok()) return sides.status();
  config->vision_image_height = height;
  config->vision_image_width = width;
  return absl::OkStatus();
}

// Older folders have its fields among those of the image processor.
void ReadFeatureExtractor(const Json& json, const std::string& path,
                          ModelConfig* config) {
  if (!config->audio.ok()) return;
  JsonFields outer(json, path);
  const Json* extractor = outer.Find("feature_extractor");
  const std::string inside =
      extractor == nullptr ? path : outer.Name("feature_extractor");
  absl::Status read = ReadMelConfig(extractor == nullptr ? json : *extractor,
                                    inside, &config->audio->mel);
  if (!read.ok()) config->audio = std::move(read);
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json) {
  absl::StatusOr<Json> json = ParseJson(config_json, kConfigFile);
  if (!json.ok()) return json.status();
  JsonFields fields(*json, kConfigFile);
  absl::StatusOr<std::string> architecture = ReadArchitecture(&fields);
  if (!architecture.ok()) return architecture.status();
  if (const Json* quantized = fields.Find("quantization_config")) {
    return absl::UnimplementedError(absl::StrCat(
        kConfigFile, ": quantization_config is ", JsonForMessage(*quantized),
        ": want a checkpoint in bf16, f16 or f32"));
  }

  ModelConfig config;
  config.architecture = *std::move(architecture);
  const bool full = config.architecture == kFull;
  const Json* text_object = &*json;
  std::string text_path = kConfigFile;
  if (full) {
    text_object = fields.Find("text_config");
    text_path = absl::StrCat(kConfigFile, ": text_config");
    if (text_object == nullptr) {
      fields.Fail("text_config", absl::StrCat("want the decoder's fields, as ",
                                              kFull, " has them"));
      return fields.status();
    }
  } else if (fields.Has("text_config")) {
    fields.Fail("text_config", absl::StrCat("want none: ", kTextOnly,
                                            " has its fields at the top"));
    return fields.status();
  }
  absl::StatusOr<kernels::text::TextConfig> text =
      ReadTextConfig(*text_object, text_path);
  if (!text.ok()) return text.status();
  config.text = *std::move(text);

  if (full) ReadTowers(&fields, &config);
  if (full && !fields.Bool("tie_word_embeddings", true)) {
    fields.Fail("tie_word_embeddings",
                "want true: Gemma 3n's head is tied to embed_tokens");
  }
  config.generation.eos_token_ids = {config.text.eos_token_id};
  if (text_object->is_object()) {
    JsonFields text_fields(*text_object, text_path);
    ReadEosIds(&text_fields, config.text.vocab_size,
               &config.generation.eos_token_ids);
    fields.Fail(text_fields.status());
  }
  ReadEosIds(&fields, config.text.vocab_size, &config.generation.eos_token_ids);
  if (!fields.ok()) return fields.status();
  return config;
}

absl::Status ParseGenerationConfig(absl::string_view generation_json,
                                   ModelConfig* config) {
  if (generation_json.empty()) return absl::OkStatus();
  absl::StatusOr<Json> json = ParseJson(generation_json, kGenerationConfigFile);
  if (!json.ok()) return json.status();
  JsonFields fields(*json, kGenerationConfigFile);
  GenerationDefaults generation = config->generation;
  generation.do_sample =
      fields.Has("do_sample") ? fields.Bool("do_sample", false) : false;
  // The ranges lie within the sampler's (CheckSamplingParams): what it would
  // refuse must not become the default of every request.
  generation.temperature = InRange(&fields, "temperature", 1.0f, 0, 1e6);
  // Null switches the filter off.
  generation.top_k =
      fields.IsNull("top_k")
          ? 0
          : static_cast<int32_t>(fields.Int("top_k", 50, 0, kMaxDim));
  generation.top_p = AboveZero(&fields, "top_p", 1.0f, 1);
  generation.min_p = InRange(&fields, "min_p", 0.0f, 0, 1);
  generation.repetition_penalty =
      AboveZero(&fields, "repetition_penalty", 1.0f, 1e6f);
  ReadEosIds(&fields, config->text.vocab_size, &generation.eos_token_ids);
  if (!fields.ok()) return fields.status();
  config->generation = std::move(generation);
  return absl::OkStatus();
}

absl::Status ParseProcessorConfig(absl::string_view json,
                                  const std::string& path,
                                  ModelConfig* config) {
  absl::StatusOr<Json> parsed = ParseJson(json, path);
  if (!parsed.ok()) return parsed.status();
  ReadFeatureExtractor(*parsed, path, config);
  return ReadImageSize(*parsed, path, config);
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder) {
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(folder, "/", kConfigFile), kMaxConfigBytes);
  if (!text.ok()) {
    if (absl::IsNotFound(text.status())) {
      return absl::NotFoundError(absl::StrCat(
          folder, " has no ", kConfigFile,
          "; give the folder of a Hugging Face Gemma 3n checkpoint"));
    }
    return text.status();
  }
  absl::StatusOr<ModelConfig> config = ParseModelConfig(*text);
  if (!config.ok()) return config;
  absl::StatusOr<std::string> generation = ReadFile(
      absl::StrCat(folder, "/", kGenerationConfigFile), kMaxConfigBytes);
  if (!generation.ok() && !absl::IsNotFound(generation.status())) {
    return generation.status();
  }
  const absl::Status parsed =
      ParseGenerationConfig(generation.ok() ? *generation : "", &*config);
  if (!parsed.ok()) return parsed;
  for (const char* name : {kPreprocessorConfigFile, kProcessorConfigFile}) {
    const absl::StatusOr<std::string> processor =
        ReadFile(absl::StrCat(folder, "/", name), kMaxConfigBytes);
    if (absl::IsNotFound(processor.status())) continue;
    if (!processor.ok()) return processor.status();
    const absl::Status status =
        ParseProcessorConfig(*processor, name, &*config);
    if (!status.ok()) return status;
  }
  return config;
}

}  // namespace lapidary
