// Names of the files in a Hugging Face folder, and in a packed model's.
#ifndef LAPIDARY_STORAGE_MODEL_FILES_H_
#define LAPIDARY_STORAGE_MODEL_FILES_H_

#include <cstddef>

namespace lapidary {

inline constexpr char kConfigFile[] = "config.json";
inline constexpr char kGenerationConfigFile[] = "generation_config.json";
inline constexpr char kIndexFile[] = "model.safetensors.index.json";
inline constexpr char kSingleShardFile[] = "model.safetensors";
inline constexpr char kChatTemplateFile[] = "chat_template.jinja";
inline constexpr char kTokenizerConfigFile[] = "tokenizer_config.json";

// What a tokenizer and its chat template are made of.
inline constexpr const char* kTokenizerFiles[] = {
    "tokenizer.model",         "tokenizer.json",    kTokenizerConfigFile,
    "special_tokens_map.json", "added_tokens.json", kChatTemplateFile,
    "chat_template.json"};

// All that packing copies, where it is there.
inline constexpr const char* kCopiedFiles[] = {kConfigFile,
                                               kGenerationConfigFile,
                                               "tokenizer.model",
                                               "tokenizer.json",
                                               kTokenizerConfigFile,
                                               "special_tokens_map.json",
                                               "added_tokens.json",
                                               kChatTemplateFile,
                                               "processor_config.json",
                                               "preprocessor_config.json"};

// Larger ones are not what their names say.
inline constexpr size_t kMaxSideFileBytes = size_t{256} << 20;

// Of a packed model.
inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kWeightsFolder[] = "weights";
inline constexpr char kPleFolder[] = "ple";
// There while a packer works, or after it was killed.
inline constexpr char kUnfinishedFile[] = "packing-unfinished";

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MODEL_FILES_H_
