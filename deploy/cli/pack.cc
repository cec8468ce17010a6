// lapidary pack: a Hugging Face folder into the form that is served.
#include "storage/pack.h"

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "deploy/cli/command.h"
#include "deploy/cli/groups_text.h"
#include "deploy/cli/node_flags.h"
#include "deploy/cli/progress.h"
#include "storage/file_io.h"
#include "storage/model_files.h"
#include "storage/packed_model.h"

namespace lapidary::cli {
namespace {

// `name` is one of the flags' choices.
kernels::DType DTypeNamed(absl::string_view name) {
  for (const kernels::DType dtype :
       {kernels::DType::kF32, kernels::DType::kInt8, kernels::DType::kInt4}) {
    if (name == kernels::NameOf(dtype)) return dtype;
  }
  return kernels::DType::kBf16;
}

class PackCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "pack",
        "makes a model that can be served out of a Hugging Face folder",
        "HF_DIR OUT",
        "HF_DIR holds config.json, model.safetensors (or shards and their "
        "index) and tokenizer.model, as published. OUT is made; packing "
        "streams, so its memory does not grow with the model. Killed at any "
        "time, it leaves a folder that is refused until pack has been run "
        "again.",
        {"lapidary pack gemma-3n-E2B-it e2b",
         "lapidary pack gemma-3n-E2B-it e2b-int4 --dtype=int4",
         "lapidary pack gemma-3n-E2B-it e2b-int4 --dtype=int4 "
         "--head-dtype=int8 --audio-dtype=int8",
         "lapidary pack gemma-3n-E2B-it e2b-exact --dtype=f32"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Choice(
        "dtype", {"bf16", "f32", "int8", "int4"},
        "Precision of the matrices. The published checkpoints are "
        "bf16. int8 is half their size and int4 a good quarter, and as "
        "much faster to answer with; f32 is exact and twice the "
        "size.",
        &dtype_);
    flags->Choice("head-dtype", {"as-dtype", "int8", "int4"},
                  "Precision of the embedding, which is the head too. With "
                  "--dtype=int4, int8 halves the error that packing adds, for "
                  "240 MiB at the E2B shape that every token reads.",
                  &head_dtype_);
    flags->Choice("ple-dtype", {"by-dtype", "int8", "bf16", "f32"},
                  "Precision of the per-layer embedding table, which stays on "
                  "disk. by-dtype: int8 where the matrices are int8 or int4, "
                  "else as in HF_DIR.",
                  &ple_dtype_);
    flags->Choice("audio-dtype", {"by-dtype", "f32", "bf16", "int8"},
                  "Precision of the audio tower. by-dtype: f32 with "
                  "--dtype=f32, else bf16: what 8 bits cost depends on the "
                  "tower's weights, so int8, half the size and faster, above "
                  "all with live sound, is for you to ask for.",
                  &audio_dtype_);
    flags->Choice("chat-template", {"check", "gemma3n"},
                  "check refuses a folder whose chat template is not Gemma "
                  "3n's; gemma3n uses Gemma 3n's whatever the folder says.",
                  &template_);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (arguments.size() != 2) {
      return UsageError("two folders are wanted: HF_DIR and OUT");
    }
    absl::Status there =
        CheckFolder(arguments[0], "HF_DIR holds config.json and *.safetensors");
    if (!there.ok()) return there;
    Progress progress("packing");
    PackOptions options;
    options.source = arguments[0];
    options.target = arguments[1];
    options.dtypes.matrices = DTypeNamed(dtype_);
    if (head_dtype_ != "as-dtype") {
      options.dtypes.others[MatrixGroup::kHead] = DTypeNamed(head_dtype_);
    }
    if (audio_dtype_ != "by-dtype") {
      options.dtypes.others[MatrixGroup::kAudio] = DTypeNamed(audio_dtype_);
    }
    if (ple_dtype_ != "by-dtype") {
      options.dtypes.ple = DTypeNamed(ple_dtype_);
    }
    options.assume_gemma3n_template = template_ == "gemma3n";
    options.progress = [&progress](absl::string_view step, uint64_t done,
                                   uint64_t total) {
      progress.Update(step, done, total);
    };
    if (absl::Status packed = Pack(options); !packed.ok()) return packed;
    progress.End();
    auto model = PackedModel::Open(options.target, PackedModelOptions());
    if (!model.ok()) return model.status();
    std::cout << GroupsText((*model)->groups()) << "\n";
    if (FileExists(absl::StrCat(options.target, "/", kTokenizerModelFile))) {
      std::cout << "packed " << options.target << "; ask it something: "
                << "lapidary run " << options.target << " \"…\"\n";
    } else {
      std::cout << "packed " << options.target << ", which has no tokenizer; "
                << "ask it in token ids: lapidary run " << options.target
                << " --ids=2,…\n";
    }
    return absl::OkStatus();
  }

 private:
  std::string dtype_ = "bf16";
  std::string head_dtype_ = "as-dtype";
  std::string ple_dtype_ = "by-dtype";
  std::string audio_dtype_ = "by-dtype";
  std::string template_ = "check";
};

}  // namespace

std::unique_ptr<Command> MakePackCommand() {
  return std::make_unique<PackCommand>();
}

}  // namespace lapidary::cli
