// Names of the files in a Hugging Face folder, and in a packed model's.
#ifndef LAPIDARY_STORAGE_MODEL_FILES_H_
#define LAPIDARY_STORAGE_MODEL_FILES_H_

#include <array>
#include <cstddef>

namespace lapidary {

inline constexpr char kConfigFile[] = "config.json";
inline constexpr char kGenerationConfigFile[] = "generation_config.json";
inline constexpr char kIndexFile[] = "model.safetensors.index.json";
inline constexpr char kSingleShardFile[] = "model.safetensors";
inline constexpr char kTokenizerModelFile[] = "tokenizer.model";
inline constexpr char kTokenizerJsonFile[] = "tokenizer.json";
inline constexpr char kTokenizerConfigFile[] = "tokenizer_config.json";
inline constexpr char kAddedTokensFile[] = "added_tokens.json";
inline constexpr char kChatTemplateFile[] = "chat_template.jinja";
inline constexpr char kChatTemplateJsonFile[] = "chat_template.json";
inline constexpr char kProcessorConfigFile[] = "processor_config.json";
inline constexpr char kPreprocessorConfigFile[] = "preprocessor_config.json";

// What a tokenizer and its chat template are made of.
inline constexpr std::array<const char*, 7> kTokenizerFiles = {
    kTokenizerModelFile,  kTokenizerJsonFile,        kTokenizerConfigFile,
    kAddedTokensFile,     "special_tokens_map.json", kChatTemplateFile,
    kChatTemplateJsonFile};

// All that packing copies, where it is there: the configurations, then
// kTokenizerFiles.
inline constexpr auto kCopiedFiles = [] {
  constexpr std::array<const char*, 4> kConfigs = {
      kConfigFile, kGenerationConfigFile, kProcessorConfigFile,
      kPreprocessorConfigFile};
  std::array<const char*, kConfigs.size() + kTokenizerFiles.size()> all{};
  size_t count = 0;
  for (const char* name : kConfigs) all[count++] = name;
  for (const char* name : kTokenizerFiles) all[count++] = name;
  return all;
}();

// Larger ones are not what their names say.
inline constexpr size_t kMaxSideFileBytes = size_t{256} << 20;

// Of a packed model.
inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kWeightsFolder[] = "weights";
// The vision tower and embedder, in the weights' folder.
inline constexpr char kVisionFile[] = "weights/vision.bin";
// The audio tower and embedder.
inline constexpr char kAudioFile[] = "weights/audio.bin";
inline constexpr char kPleFolder[] = "ple";
// There while a packer works, or after it was killed.
inline constexpr char kUnfinishedFile[] = "packing-unfinished";

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MODEL_FILES_H_
