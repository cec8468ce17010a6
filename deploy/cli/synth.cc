// lapidary synth: a checkpoint of a true shape with random weights.
#include "storage/synth.h"

#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "deploy/cli/command.h"
#include "deploy/cli/node_flags.h"
#include "deploy/cli/progress.h"
#include "storage/file_io.h"
#include "storage/model_files.h"

namespace lapidary::cli {
namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20;

class SynthCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "synth",
        "writes a Hugging Face folder with random weights, for benchmarks",
        "OUT",
        "The shape is a published one or that of a config.json. "
        "The same shape and seed give the same bytes. Writing streams.",
        {"lapidary synth --shape=e2b --seed=1 e2b-random",
         "lapidary synth --shape=tiny.json --dtype=f32 tiny",
         "lapidary synth --shape=e2b --tokenizer=gemma-3n-E2B-it e2b-random"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Text(
        "shape", "e2b|e4b[+vision][+audio]|FILE.json",
        "The model's shape: e2b writes 8.9 GB, e4b 13.7 GB; the vision tower "
        "adds 0.6 GB and the audio tower 1.4 GB. FILE.json is a Hugging Face "
        "config.json.",
        &shape_);
    flags->Integer("seed", "Of the random weights.", 0,
                   std::numeric_limits<uint32_t>::max(), &seed_);
    flags->Choice("dtype", {"bf16", "f32"}, "Of the checkpoint's tensors.",
                  &dtype_);
    flags->Text("tokenizer", "FOLDER",
                "Copies tokenizer and chat template from this folder; without "
                "them the model takes and gives token ids only.",
                &tokenizer_);
    flags->Bytes("shard-size", "Larger models become several files.",
                 &shard_bytes_);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (arguments.size() != 1) return UsageError("one folder, OUT, is wanted");
    if (shape_.empty()) {
      return UsageError("--shape is missing: e2b, e4b or a config.json");
    }
    const bool from_file = !IsSynthShape(shape_);
    absl::StatusOr<std::string> config =
        from_file ? ReadFile(shape_, kMaxConfigBytes) : SynthShape(shape_);
    if (!config.ok()) {
      if (!from_file || !absl::IsNotFound(config.status())) {
        return config.status();
      }
      return UsageError(absl::StrCat("--shape=", shape_,
                                     ": neither e2b nor e4b, nor a file"));
    }
    if (!tokenizer_.empty()) {
      absl::Status there =
          CheckFolder(tokenizer_, "--tokenizer wants one with tokenizer.model");
      if (!there.ok()) return there;
    }
    Progress progress("writing");
    SynthOptions options;
    options.config_json = *std::move(config);
    options.seed = static_cast<uint32_t>(seed_);
    options.dtype =
        dtype_ == "f32" ? kernels::DType::kF32 : kernels::DType::kBf16;
    options.target = arguments[0];
    options.tokenizer_source = tokenizer_;
    options.shard_bytes = shard_bytes_;
    options.progress = [&progress](absl::string_view step, uint64_t done,
                                   uint64_t total) {
      progress.Update(step, done, total);
    };
    absl::Status made = Synthesize(options);
    if (!made.ok()) return from_file ? NamingShape(made) : made;
    progress.End();
    std::cout << "wrote " << options.target << "\n";
    return absl::OkStatus();
  }

 private:
  // What is wrong in the shape was found in "config.json"; the user knows it
  // by another name.
  absl::Status NamingShape(const absl::Status& status) const {
    absl::string_view message = status.message();
    if (!absl::ConsumePrefix(&message, kConfigFile)) return status;
    return absl::Status(status.code(), absl::StrCat(shape_, message));
  }

  std::string shape_;
  int64_t seed_ = 0;
  std::string dtype_ = "bf16";
  std::string tokenizer_;
  size_t shard_bytes_ = SynthOptions().shard_bytes;
};

}  // namespace

std::unique_ptr<Command> MakeSynthCommand() {
  return std::make_unique<SynthCommand>();
}

}  // namespace lapidary::cli
