// lapidary inspect: what a checkpoint or a packed model consists of.
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "deploy/cli/command.h"
#include "deploy/cli/groups_text.h"
#include "deploy/cli/json_output.h"
#include "deploy/cli/node_flags.h"
#include "deploy/cli/progress.h"
#include "kernels/kernel_names.h"
#include "storage/checkpoint.h"
#include "storage/file_io.h"
#include "storage/model_config.h"
#include "storage/model_files.h"
#include "storage/packed_model.h"

namespace lapidary::cli {
namespace {

struct Findings {
  std::string kind;  // "packed model", "Hugging Face folder"
  ModelConfig config;
  ParameterCounts parameters;
  // What lies on disk: label, bytes.
  std::vector<std::pair<std::string, uint64_t>> stored;
  std::vector<TensorGroup> groups;  // of a packed model
};

absl::StatusOr<Findings> InspectPacked(const std::string& folder) {
  auto model = PackedModel::Open(folder, PackedModelOptions());
  if (!model.ok()) return model.status();
  Findings findings{"packed model",
                    (*model)->config(),
                    (*model)->parameters(),
                    {},
                    (*model)->groups()};
  findings.stored.emplace_back(absl::StrCat("text weights, matrices ",
                                            kernels::NameOf((*model)->dtype())),
                               (*model)->weight_bytes());
  for (const auto& [name, dtype, bytes] :
       {std::tuple("vision", (*model)->vision_dtype(),
                   (*model)->vision_bytes()),
        {"audio", (*model)->audio_dtype(), (*model)->audio_bytes()}}) {
    if (bytes == 0) continue;
    findings.stored.emplace_back(
        absl::StrCat(name, " tower, matrices ", kernels::NameOf(dtype)), bytes);
  }
  const PleTableShape& ple = (*model)->ple_shape();
  findings.stored.emplace_back(
      absl::StrCat("PLE table, ", kernels::NameOf(ple.dtype)),
      ple.StoredRowBytes() * ple.tokens);
  return findings;
}

absl::StatusOr<Findings> InspectCheckpoint(const std::string& folder) {
  absl::StatusOr<ModelConfig> config = ReadModelConfig(folder);
  if (!config.ok()) return config.status();
  auto checkpoint = Checkpoint::Open(folder);
  if (!checkpoint.ok()) return checkpoint.status();
  std::map<std::string, uint64_t> by_type;
  for (const auto& [name, tensor] : (*checkpoint)->tensors()) {
    by_type[tensor.entry.dtype] += tensor.entry.bytes;
  }
  Findings findings{"Hugging Face folder",
                    *std::move(config),
                    (*checkpoint)->CountParameters(),
                    {},
                    {}};
  for (const auto& [dtype, bytes] : by_type) {
    findings.stored.emplace_back(absl::StrCat(dtype, " tensors"), bytes);
  }
  return findings;
}

std::string KvText(const kernels::text::TextConfig& config, int64_t layer) {
  if (config.OwnsKv(layer)) return "own";
  return absl::StrCat("of layer ", config.KvSource(layer));
}

void PrintText(const Findings& findings) {
  const kernels::text::TextConfig& text = findings.config.text;
  const ParameterCounts& counts = findings.parameters;
  std::cout << findings.kind << ", " << findings.config.architecture << "\n\n";
  std::cout << absl::StrFormat("parameters %15d\n", counts.total());
  for (const auto& [label, count] : {std::pair("text", counts.text),
                                     {"vision", counts.vision},
                                     {"audio", counts.audio},
                                     {"PLE", counts.ple}}) {
    std::cout << absl::StrFormat("  %-8s %15d\n", label, count);
  }
  std::cout << absl::StrFormat(
      "effective  %15d  in memory to answer text: the PLE table stays on "
      "disk,\n%28stowers are not loaded\n",
      counts.text, "");
  std::cout << "\non disk\n";
  for (const auto& [label, bytes] : findings.stored) {
    std::cout << absl::StrFormat("  %9s  %s\n", HumanBytes(bytes), label);
  }
  if (!findings.groups.empty()) {
    std::cout << "\n" << GroupsText(findings.groups);
  }
  std::cout << absl::StrFormat(
      "\nhidden %d, PLE width %d, heads %d (%d for keys and values) of %d\n"
      "vocabulary %d (text %d), window %d, context %d\n",
      text.hidden_size, text.hidden_size_per_layer_input,
      text.num_attention_heads, text.num_key_value_heads, text.head_dim,
      text.vocab_size, text.vocab_size_per_layer_input, text.sliding_window,
      text.max_position_embeddings);
  std::cout << "kernels on this CPU: " << kernels::KernelsInUse().ToString()
            << "\n\nlayer  attention  FFN width  FFN sparsity  keys, values\n";
  for (int64_t layer = 0; layer < text.num_hidden_layers; ++layer) {
    const bool sliding =
        text.layer_types[layer] == kernels::text::LayerType::kSliding;
    std::cout << absl::StrFormat(
        "%5d  %-9s  %9d  %12.2f  %s\n", layer, sliding ? "sliding" : "full",
        text.intermediate_size[layer], text.activation_sparsity_pattern[layer],
        KvText(text, layer));
  }
}

void PrintJson(const Findings& findings) {
  const kernels::text::TextConfig& text = findings.config.text;
  const ParameterCounts& counts = findings.parameters;
  OutputJson layers = OutputJson::array();
  for (int64_t layer = 0; layer < text.num_hidden_layers; ++layer) {
    const bool sliding =
        text.layer_types[layer] == kernels::text::LayerType::kSliding;
    layers.push_back(
        {{"attention", sliding ? "sliding" : "full"},
         {"intermediate_size", text.intermediate_size[layer]},
         {"activation_sparsity", text.activation_sparsity_pattern[layer]},
         {"kv_source", text.KvSource(layer)}});
  }
  OutputJson stored = OutputJson::object();
  for (const auto& [label, bytes] : findings.stored) stored[label] = bytes;
  const kernels::KernelNames names = kernels::KernelsInUse();
  OutputJson weights = OutputJson::array();
  for (const TensorGroup& group : findings.groups) {
    weights.push_back({{"group", group.name},
                       {"dtype", kernels::NameOf(group.dtype)},
                       {"tensors", group.tensors},
                       {"bytes", group.bytes},
                       {"rms_error", group.rms_error}});
  }
  std::cout << ToLine({
                   {"kind", findings.kind},
                   {"architecture", findings.config.architecture},
                   {"parameters",
                    {{"text", counts.text},
                     {"vision", counts.vision},
                     {"audio", counts.audio},
                     {"ple", counts.ple},
                     {"total", counts.total()},
                     {"effective", counts.text}}},
                   {"bytes", stored},
                   {"weights", weights},
                   {"kernels",
                    {{"integer_products", names.integer_products},
                     {"vectors", names.vectors},
                     {"float_products", names.float_products}}},
                   {"hidden_size", text.hidden_size},
                   {"vocab_size", text.vocab_size},
                   {"vocab_size_per_layer_input",
                    text.vocab_size_per_layer_input},
                   {"sliding_window", text.sliding_window},
                   {"max_position_embeddings", text.max_position_embeddings},
                   {"layers", layers},
               })
            << "\n";
}

class InspectCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "inspect",
        "parameters by group, layers and sizes of a model",
        "MODEL|HF_DIR",
        "Counts the parameters of the checkpoint by what they are for (text, "
        "vision, audio, per-layer embeddings), and lists its layers. Takes a "
        "packed model or a Hugging Face folder.",
        {"lapidary inspect gemma-3n-E2B-it", "lapidary inspect nano --json"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Switch("json", "Print one JSON object.", &json_);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (arguments.size() != 1) {
      return UsageError("one folder is wanted: a packed model or HF_DIR");
    }
    const std::string& folder = arguments[0];
    absl::Status there =
        CheckFolder(folder, "give a packed model or a Hugging Face folder");
    if (!there.ok()) return there;
    const bool checkpoint =
        !FileExists(absl::StrCat(folder, "/", kManifestFile)) &&
        FileExists(absl::StrCat(folder, "/", kConfigFile)) &&
        !FileExists(absl::StrCat(folder, "/", kUnfinishedFile));
    absl::StatusOr<Findings> findings =
        checkpoint ? InspectCheckpoint(folder) : InspectPacked(folder);
    if (!findings.ok()) return findings.status();
    if (json_) {
      PrintJson(*findings);
    } else {
      PrintText(*findings);
    }
    return absl::OkStatus();
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeInspectCommand() {
  return std::make_unique<InspectCommand>();
}

}  // namespace lapidary::cli
