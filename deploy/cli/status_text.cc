#include "deploy/cli/status_text.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "deploy/cli/connection.h"
#include "deploy/cli/progress.h"
#include "grpcpp/client_context.h"
#include "kernels/kernel_names.h"

namespace lapidary::cli {
namespace {

constexpr std::chrono::seconds kPatience(30);

std::string Line(absl::string_view label, absl::string_view text) {
  return absl::StrFormat("%-10s%s\n", label, text);
}

std::string KernelsText(const v1::Kernels& kernels) {
  const kernels::KernelNames names{kernels.integer_products(),
                                   kernels.vectors(), kernels.float_products()};
  return absl::StrFormat("%s; %d threads", names.ToString(), kernels.threads());
}

}  // namespace

absl::StatusOr<NodeReport> AskForReport(v1::Lapidary::Stub* stub) {
  NodeReport report;
  grpc::ClientContext for_models, for_status;
  for_models.set_deadline(std::chrono::system_clock::now() + kPatience);
  for_status.set_deadline(std::chrono::system_clock::now() + kPatience);
  absl::Status status =
      FromGrpc(stub->ListModels(&for_models, {}, &report.models));
  if (!status.ok()) return status;
  status = FromGrpc(stub->Status(&for_status, {}, &report.status));
  if (!status.ok()) return status;
  return report;
}

std::string ModelsText(const v1::ListModelsResponse& models) {
  std::string text;
  for (const v1::Model& model : models.models()) {
    absl::StrAppend(
        &text,
        Line("model",
             absl::StrFormat("%s, %s, %s, %d layers, context %d tokens",
                             model.name(), model.architecture(),
                             model.weight_dtype(), model.layers(),
                             model.context_tokens())),
        Line("", absl::StrFormat(
                     "parameters: text %d, PLE %d, vision %d, "
                     "audio %d",
                     model.parameters().text(), model.parameters().ple(),
                     model.parameters().vision(), model.parameters().audio())));
  }
  return text;
}

std::string RolesText(const v1::StatusResponse& status) {
  std::string names;
  std::string troubles;
  for (const v1::Role& role : status.roles()) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", role.name(),
                    role.alive() ? "" : " (down)");
    if (role.restarts() > 0 || !role.alive()) {
      absl::StrAppend(
          &troubles,
          Line("", absl::StrFormat("%s: restarted %d times; %s", role.name(),
                                   role.restarts(), role.reason())));
    }
  }
  return absl::StrCat(Line("roles", names), troubles);
}

// How a memory limit was divided; nothing without one.
std::string PlanText(const v1::MemoryPlan& plan) {
  if (plan.limit() == 0) return "";
  const std::string media =
      plan.images() + plan.sounds() == 0
          ? ""
          : Line("", absl::StrFormat("           images %s, sounds %s,",
                                     HumanBytes(plan.images()),
                                     HumanBytes(plan.sounds())));
  return absl::StrCat(
      Line("limit",
           absl::StrFormat("%9s: weights %s, keys and values %s, PLE cache %s "
                           "and rows %s,",
                           HumanBytes(plan.limit()), HumanBytes(plan.weights()),
                           HumanBytes(plan.kv()), HumanBytes(plan.ple_cache()),
                           HumanBytes(plan.ple_rows()))),
      media,
      Line("",
           absl::StrFormat("           work space %s for steps of %d rows, "
                           "the program %s",
                           HumanBytes(plan.work_space()), plan.max_batch_rows(),
                           HumanBytes(plan.runtime()))));
}

std::string MemoryText(const v1::StatusResponse& status) {
  const v1::Memory& memory = status.memory();
  return absl::StrCat(
      Line("memory", absl::StrFormat("%9s  the whole process, resident",
                                     HumanBytes(memory.process_resident()))),
      Line("", absl::StrFormat("%9s  text weights, resident (%s mapped)",
                               HumanBytes(memory.weights_resident()),
                               HumanBytes(memory.weights_mapped()))),
      Line("", absl::StrFormat("%9s  PLE cache (the table is on disk)",
                               HumanBytes(memory.ple_block_cache()))),
      Line("", absl::StrFormat("%9s  keys and values, in use (%s at most)",
                               HumanBytes(memory.kv_in_use()),
                               HumanBytes(memory.kv_total()))),
      Line("", absl::StrFormat("%9s  keys and values, kept as prefixes (%s at "
                               "most)",
                               HumanBytes(status.prefix_cache().bytes()),
                               HumanBytes(status.prefix_cache().capacity()))),
      Line("",
           absl::StrFormat("%9s  work space", HumanBytes(memory.scratch()))),
      PlanText(memory.plan()));
}

namespace {

// Why requests were refused, and what steps cost: each only if there is
// something to say.
std::string ScheduleText(const v1::StatusResponse& status) {
  const v1::Queue& queue = status.queue();
  const v1::StepCosts& costs = status.step_costs();
  std::string text;
  if (queue.refused() > 0) {
    absl::StrAppend(
        &text, Line("", absl::StrFormat("refused: %d by a full queue, %d for "
                                        "their deadline, %d too large",
                                        queue.refused_queue_full(),
                                        queue.refused_deadline(),
                                        queue.refused_too_large())));
  }
  if (costs.decode_step_ms() > 0) {
    absl::StrAppend(
        &text,
        Line("steps",
             absl::StrFormat("%.1f ms for answers, %.2f ms more for a "
                             "position of a prompt",
                             costs.decode_step_ms(), costs.prompt_row_ms())));
  }
  return text;
}

// Of a v1::Vision or a v1::AudioTower, whose name is `role`.
template <typename Tower>
std::string TowerText(const char* role, const Tower& tower) {
  return Line(role,
              absl::StrFormat(
                  "%s, weights %s, work space %s; loaded %d times, unloaded %d",
                  tower.loaded() ? "loaded" : "not loaded",
                  HumanBytes(tower.weight_bytes()),
                  HumanBytes(tower.activation_bytes()), tower.loads(),
                  tower.unloads()));
}

template <typename Peer>
std::string PeerText(const char* role, const Peer& peer, uint64_t encoded,
                     const char* what) {
  const std::string state =
      peer.alive() ? "there" : absl::StrCat("not there: ", peer.reason());
  return Line(role, absl::StrFormat("%s encoded %d %s; %s", peer.address(),
                                    encoded, what, state));
}

std::string PeersText(const v1::Vision& vision) {
  std::string text;
  for (const v1::VisionPeer& peer : vision.peers()) {
    absl::StrAppend(&text, PeerText(text.empty() ? "vision" : "", peer,
                                    peer.images(), "images"));
  }
  return text;
}

std::string PeersText(const v1::AudioTower& audio) {
  std::string text;
  for (const v1::AudioPeer& peer : audio.peers()) {
    absl::StrAppend(&text, PeerText(text.empty() ? "audio" : "", peer,
                                    peer.sounds(), "sounds"));
  }
  return text;
}

std::string VisionText(const v1::StatusResponse& status) {
  if (!status.has_vision()) return "";
  const v1::Vision& vision = status.vision();
  return absl::StrCat(
      vision.peers().empty() ? TowerText("vision", vision) : PeersText(vision),
      Line("", absl::StrFormat("%d images encoded, %d waiting; %d of %d known, "
                               "%s of %s kept",
                               vision.images(), vision.waiting(),
                               vision.cache_hits(),
                               vision.cache_hits() + vision.cache_misses(),
                               HumanBytes(vision.cache_bytes()),
                               HumanBytes(vision.cache_capacity()))));
}

// How many live sounds share a reading of the tower's weights.
std::string BatchesText(const v1::AudioTower& audio) {
  if (audio.live_batches() == 0) return "";
  return absl::StrFormat(", %.1f a batch",
                         static_cast<double>(audio.live_batch_sounds()) /
                             static_cast<double>(audio.live_batches()));
}

std::string AudioText(const v1::StatusResponse& status) {
  if (!status.has_audio()) return "";
  const v1::AudioTower& audio = status.audio();
  return absl::StrCat(
      audio.peers().empty() ? TowerText("audio", audio) : PeersText(audio),
      Line("",
           absl::StrFormat("%d files encoded, %d waiting; %d of %d known, "
                           "%s of %s kept",
                           audio.sounds(), audio.waiting(), audio.cache_hits(),
                           audio.cache_hits() + audio.cache_misses(),
                           HumanBytes(audio.cache_bytes()),
                           HumanBytes(audio.cache_capacity()))),
      Line("", absl::StrFormat("%.1f s of sound in %.0f ms; %d live sounds, at "
                               "most %.1f s behind%s",
                               audio.sound_seconds(), audio.encode_ms(),
                               audio.live(), audio.live_waiting_seconds(),
                               BatchesText(audio))));
}

}  // namespace

std::string WorkText(const v1::StatusResponse& status) {
  const v1::Queue& queue = status.queue();
  const v1::PleCache& ple = status.ple();
  const v1::PrefixCache& prefixes = status.prefix_cache();
  return absl::StrCat(
      Line("requests",
           absl::StrFormat("%d running of %d, %d waiting of %d; %d done, %d "
                           "cancelled, %d failed, %d refused",
                           queue.running(), queue.max_running(), queue.queued(),
                           queue.max_queued(), queue.completed(),
                           queue.cancelled(), queue.failed(), queue.refused())),
      ScheduleText(status),
      Line("tokens", absl::StrFormat("%d of prompts, %d of answers, in %d "
                                     "steps",
                                     queue.prompt_tokens(),
                                     queue.completion_tokens(), queue.steps())),
      Line("", absl::StrFormat("%d of prompts taken from the prefix cache, in "
                               "%d requests of %d",
                               prefixes.tokens_reused(), prefixes.hits(),
                               prefixes.lookups())),
      Line("PLE", absl::StrFormat("%d rows in %d reads; blocks %.0f%% from "
                                  "the cache, %s from disk",
                                  ple.rows(), ple.reads(), 100 * ple.hit_rate(),
                                  HumanBytes(ple.bytes_read()))),
      Line("", absl::StrFormat("a read takes %.0f us (median), %.0f us (99%%), "
                               "%.0f us (longest)",
                               ple.read_us_p50(), ple.read_us_p99(),
                               ple.read_us_max())),
      VisionText(status), AudioText(status),
      Line("kernels", KernelsText(status.kernels())),
      Line("up", absl::StrFormat("%.0f s", status.uptime_seconds())));
}

}  // namespace lapidary::cli
