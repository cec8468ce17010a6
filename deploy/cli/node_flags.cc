#include "deploy/cli/node_flags.h"

#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/model_files.h"

namespace lapidary::cli {
namespace {

bool Exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

}  // namespace

absl::Status CheckFolder(const std::string& folder, absl::string_view remedy) {
  if (Exists(folder)) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat(folder, ": no such folder; ", remedy));
}

absl::Status CheckPackedFolder(const std::string& folder) {
  absl::Status there = CheckFolder(
      folder,
      absl::StrCat("a packed model is made by: lapidary pack HF_DIR ", folder));
  if (!there.ok()) return there;
  const bool packed = Exists(absl::StrCat(folder, "/", kManifestFile)) ||
                      Exists(absl::StrCat(folder, "/", kUnfinishedFile)) ||
                      Exists(absl::StrCat(folder, "/", kWeightsFolder));
  if (!packed && Exists(absl::StrCat(folder, "/", kConfigFile))) {
    return absl::FailedPreconditionError(absl::StrCat(
        folder, " is a Hugging Face folder, not a packed model; pack it ",
        "first: lapidary pack ", folder, " OUT"));
  }
  return absl::OkStatus();
}

void NodeFlags::DefineCompute(FlagSet* flags, absl::string_view section,
                              absl::string_view audio_flag) {
  flags->Section(section);
  options_.audio.flag = std::string(audio_flag);
  flags->Integer("threads", "Threads that compute; 0 takes one per processor.",
                 0, 4096, &threads_);
  flags->Text("memory-limit", "SIZE|none",
              "Most memory of the whole process, weights and all; the sizes "
              "below are made smaller to fit. If empty, that of the control "
              "group (cgroup), if it has one; none: no limit.",
              &memory_limit_);
  flags->Bytes("kv-memory",
               "Most memory for keys and values of all requests together; it "
               "is taken as it is needed.",
               &options_.kv_memory_bytes);
  flags->OptionalText(
      "prefix-cache", "SIZE",
      "Most of --kv-memory that holds keys and values of answered requests, so "
      "that prompts which begin alike start sooner; requests come first. 0 "
      "keeps nothing. Without it, half of --kv-memory.",
      &prefix_cache_);
  flags->Choice("kv-dtype", {"f32", "bf16"},
                "Precision of keys and values; bf16 halves their memory.",
                &kv_dtype_);
  flags->Bytes("ple-cache",
               "Memory that caches rows of the per-layer embedding table; the "
               "table itself stays on disk.",
               &options_.ple.block_cache_bytes);
  flags->Switch("ple-direct-io",
                "Read the table past the system's page cache, so that nothing "
                "of it stays in memory but --ple-cache.",
                &options_.ple.direct_io);
  flags->Integer("max-batch-rows",
                 "Positions of one step, prompts' and answers' together. More "
                 "make prompts faster and each step longer.",
                 1, 65536, &max_batch_rows_);
  flags->Switch("trim-prefill",
                "Stop prompt positions whose logits nobody reads at the last "
                "layer that owns keys and values.",
                &options_.trim_prefill);
  flags->Choice(
      "vision", {"lazy", "pinned", "remote", "off"},
      "The vision tower: loaded for the first image and unloaded "
      "after --vision-idle without one; loaded at the start and kept; never "
      "loaded, the nodes of --vision-peers encode images; or never, and images "
      "are refused.",
      &vision_);
  flags->OptionalText("vision-peers", "HOST:PORT,…",
                      "With --vision=remote, the nodes that encode images: "
                      "each serves the same packed model with its tower. One "
                      "that is lost or full is replaced by the next.",
                      &vision_peers_);
  flags->Duration("vision-idle",
                  "Time without an image after which a lazy tower is unloaded.",
                  &options_.vision.idle);
  flags->Bytes("vision-cache",
               "Memory that keeps images' soft tokens, for images that come "
               "again.",
               &options_.vision.cache_bytes);
  flags->Choice(
      audio_flag, {"lazy", "pinned", "remote", "off"},
      "The audio tower: loaded for the first sound and unloaded after "
      "--audio-idle without one; loaded at the start and kept; never loaded, "
      "the nodes of --audio-peers encode sounds; or never, and sounds are "
      "refused.",
      &audio_);
  flags->OptionalText("audio-peers", "HOST:PORT,…",
                      absl::StrCat("With --", audio_flag,
                                   "=remote, the nodes that encode sounds, as "
                                   "--vision-peers. A live sound stays with "
                                   "one of them."),
                      &audio_peers_);
  flags->Duration("audio-idle",
                  "Time without a sound after which a lazy tower is unloaded.",
                  &options_.audio.idle);
  flags->Bytes("audio-cache",
               "Memory that keeps sounds' soft tokens, for files that come "
               "again.",
               &options_.audio.cache_bytes);
  flags->Switch("verify",
                "Read all weights and the PLE table and compare their "
                "checksums before the "
                "first answer.",
                &options_.verify_weights);
}

void NodeFlags::DefineServing(FlagSet* flags) {
  flags->Section("Clients");
  flags->OptionalInteger("max-running",
                         "Requests that are answered at once, at most "
                         "--max-batch-rows. Without it 64, or fewer if that "
                         "is.",
                         1, 65536, &max_running_);
  flags->Number("max-slowdown",
                "While prompts arrive, tokens of running answers may come so "
                "many times slower; from 1, which gives prompts as little as "
                "can be, up. Without it 2.",
                &max_slowdown_);
  flags->Integer("max-queued",
                 "Requests that may wait; more are refused with "
                 "RESOURCE_EXHAUSTED.",
                 1, 1 << 24, &max_queued_);
  flags->Integer("default-max-tokens",
                 "Longest answer where a request does not say.", 1, 1 << 24,
                 &default_max_tokens_);
  flags->OptionalText("media-urls", "PREFIX,…",
                      "Beginnings of URLs that image parts may name, as in "
                      "https://images.example.org/cats/; a host alone means "
                      "https. Redirects must begin so as well, and a host must "
                      "have a public address unless the prefix names the "
                      "address. Without it no URL is fetched.",
                      &media_urls_);
  flags->Text("media-files", "FOLDER",
              "The folder whose files image parts may name, wherever links "
              "lead. If empty, no file is read.",
              &options_.media.folder);
  flags->OptionalText("max-message", "SIZE",
                      "Largest request. Without it 4M, or 33M where images are "
                      "taken.",
                      &max_message_);
  flags->Bytes("max-text", "Largest text in a request.",
               &options_.max_text_bytes);
}

absl::Status NodeFlags::ApplyServing(NodeOptions* options) const {
  const int64_t running = max_running_.value_or(
      std::min<int64_t>(options_.max_running, max_batch_rows_));
  if (running > max_batch_rows_) {
    return UsageError(
        absl::StrCat("--max-running=", running, " is above --max-batch-rows=",
                     max_batch_rows_, ": each answer takes a row of a step"));
  }
  if (max_slowdown_ && !(*max_slowdown_ >= 1 && *max_slowdown_ <= 1000)) {
    return UsageError(absl::StrCat("--max-slowdown=", *max_slowdown_,
                                   ": a number from 1 to 1000 is wanted"));
  }
  options->max_running = static_cast<int>(running);
  if (max_slowdown_) options->max_slowdown = *max_slowdown_;
  options->max_queued = static_cast<int>(max_queued_);
  options->default_max_tokens = static_cast<int32_t>(default_max_tokens_);
  return absl::OkStatus();
}

absl::StatusOr<NodeOptions> NodeFlags::Options(
    const std::string& model_folder) const {
  if (absl::Status folder = CheckPackedFolder(model_folder); !folder.ok()) {
    return folder;
  }
  NodeOptions options = options_;
  options.model_folder = model_folder;
  options.threads = static_cast<int>(threads_);
  options.max_batch_rows = max_batch_rows_;
  if (absl::Status serving = ApplyServing(&options); !serving.ok()) {
    return serving;
  }
  if (memory_limit_ == "none") {
    options.memory_limit = 0;
  } else if (!memory_limit_.empty()) {
    const absl::StatusOr<size_t> limit = ParseBytes(memory_limit_);
    if (!limit.ok() || *limit == 0) {
      return UsageError(absl::StrCat("--memory-limit=", memory_limit_,
                                     ": want a size like 1600M, or none"));
    }
    options.memory_limit = *limit;
  }
  options.kv_dtype =
      kv_dtype_ == "bf16" ? kernels::DType::kBf16 : kernels::DType::kF32;
  options.vision.mode = vision_ == "off"      ? VisionOptions::Mode::kOff
                        : vision_ == "pinned" ? VisionOptions::Mode::kPinned
                        : vision_ == "remote" ? VisionOptions::Mode::kRemote
                                              : VisionOptions::Mode::kLazy;
  if (media_urls_.has_value()) {
    options.media.urls = absl::StrSplit(*media_urls_, ',');
  }
  if (vision_peers_.has_value()) {
    options.vision.peers = absl::StrSplit(*vision_peers_, ',');
  }
  options.audio.mode = audio_ == "off"      ? AudioOptions::Mode::kOff
                       : audio_ == "pinned" ? AudioOptions::Mode::kPinned
                       : audio_ == "remote" ? AudioOptions::Mode::kRemote
                                            : AudioOptions::Mode::kLazy;
  if (audio_peers_.has_value()) {
    options.audio.peers = absl::StrSplit(*audio_peers_, ',');
  }
  if (max_message_.has_value()) {
    const absl::StatusOr<size_t> bytes = ParseBytes(*max_message_);
    if (!bytes.ok()) {
      return UsageError(
          absl::StrCat("--max-message: ", bytes.status().message()));
    }
    options.max_message_bytes = *bytes;
  }
  if (prefix_cache_.has_value()) {
    const absl::StatusOr<size_t> bytes = ParseBytes(*prefix_cache_);
    if (!bytes.ok()) {
      return UsageError(
          absl::StrCat("--prefix-cache: ", bytes.status().message()));
    }
    options.prefix_cache_bytes = *bytes;
  }
  return options;
}

}  // namespace lapidary::cli
