#include "deploy/cli/json_output.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace lapidary::cli {
namespace {

// A float as the shortest decimal that gives it back: -3.2, not
// -3.200000047683716.
double Shortest(float value) {
  double shortest = value;
  for (int digits = 6; digits <= 9; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    float parsed = 0;
    if (absl::SimpleAtof(text, &parsed) && parsed == value &&
        absl::SimpleAtod(text, &shortest)) {
      break;
    }
  }
  return shortest;
}

// Milliseconds and rates need no more than a thousandth.
double Rounded(double value) {
  double rounded = value;
  if (!absl::SimpleAtod(absl::StrFormat("%.3f", value), &rounded)) return value;
  return rounded;
}

OutputJson VisionPeers(const v1::Vision& vision) {
  OutputJson peers = OutputJson::array();
  for (const v1::VisionPeer& peer : vision.peers()) {
    peers.push_back({{"address", peer.address()},
                     {"alive", peer.alive()},
                     {"images", peer.images()},
                     {"reason", peer.reason()}});
  }
  return peers;
}

OutputJson AudioPeers(const v1::AudioTower& audio) {
  OutputJson peers = OutputJson::array();
  for (const v1::AudioPeer& peer : audio.peers()) {
    peers.push_back({{"address", peer.address()},
                     {"alive", peer.alive()},
                     {"sounds", peer.sounds()},
                     {"reason", peer.reason()}});
  }
  return peers;
}

}  // namespace

OutputJson ToJson(const v1::Token& token) {
  OutputJson json = {{"id", token.id()}};
  if (token.has_logprob()) json["logprob"] = Shortest(token.logprob());
  if (token.top_size() > 0) {
    OutputJson& top = json["top"] = OutputJson::array();
    for (const v1::TokenLogprob& candidate : token.top()) {
      top.push_back(
          {{"id", candidate.id()}, {"logprob", Shortest(candidate.logprob())}});
    }
  }
  return json;
}

OutputJson ToJson(const v1::Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens()},
          {"completion_tokens", usage.completion_tokens()},
          {"cached_prompt_tokens", usage.cached_prompt_tokens()}};
}

OutputJson ToJson(const v1::Timings& timings) {
  return {
      {"queue_ms", Rounded(timings.queue_ms())},
      {"prefill_ms", Rounded(timings.prefill_ms())},
      {"time_to_first_token_ms", Rounded(timings.time_to_first_token_ms())},
      {"decode_ms", Rounded(timings.decode_ms())},
      {"prefill_tokens_per_second",
       Rounded(timings.prefill_tokens_per_second())},
      {"decode_tokens_per_second", Rounded(timings.decode_tokens_per_second())},
      {"ple_ms", Rounded(timings.ple_ms())},
      {"ple_share", timings.ple_share()},
      {"steps", timings.steps()},
  };
}

OutputJson ToJson(const v1::Model& model) {
  return {
      {"name", model.name()},
      {"architecture", model.architecture()},
      {"weight_dtype", model.weight_dtype()},
      {"context_tokens", model.context_tokens()},
      {"vocabulary", model.vocabulary()},
      {"text_vocabulary", model.text_vocabulary()},
      {"layers", model.layers()},
      {"parameters",
       {{"text", model.parameters().text()},
        {"vision", model.parameters().vision()},
        {"audio", model.parameters().audio()},
        {"ple", model.parameters().ple()}}},
  };
}

OutputJson ToJson(const v1::StepTimes& times) {
  return {{"steps", times.steps()},
          {"rows", times.rows()},
          {"wait_ms", Rounded(times.wait_ms())},
          {"round_trip_ms", Rounded(times.round_trip_ms())},
          {"compute_ms", Rounded(times.compute_ms())},
          {"gemm_ms", Rounded(times.gemm_ms())},
          {"attention_ms", Rounded(times.attention_ms())},
          {"head_ms", Rounded(times.head_ms())},
          {"sampling_ms", Rounded(times.sampling_ms())}};
}

OutputJson ToJson(const v1::MemoryPlan& plan) {
  return {{"limit", plan.limit()},
          {"weights", plan.weights()},
          {"images", plan.images()},
          {"sounds", plan.sounds()},
          {"kv", plan.kv()},
          {"ple_cache", plan.ple_cache()},
          {"ple_rows", plan.ple_rows()},
          {"work_space", plan.work_space()},
          {"runtime", plan.runtime()},
          {"max_batch_rows", plan.max_batch_rows()}};
}

OutputJson ToJson(const v1::Memory& memory) {
  return {{"weights_mapped", memory.weights_mapped()},
          {"weights_resident", memory.weights_resident()},
          {"weights_per_token", memory.weights_per_token()},
          {"kv_in_use", memory.kv_in_use()},
          {"kv_total", memory.kv_total()},
          {"kv_pages_in_use", memory.kv_pages_in_use()},
          {"kv_pages_total", memory.kv_pages_total()},
          {"kv_page_bytes", memory.kv_page_bytes()},
          {"ple_block_cache", memory.ple_block_cache()},
          {"scratch", memory.scratch()},
          {"process_resident", memory.process_resident()},
          {"plan", ToJson(memory.plan())}};
}

OutputJson ToJson(const v1::StatusResponse& status) {
  OutputJson roles = OutputJson::array();
  for (const v1::Role& role : status.roles()) {
    roles.push_back({{"name", role.name()},
                     {"alive", role.alive()},
                     {"restarts", role.restarts()},
                     {"reason", role.reason()}});
  }
  const v1::Queue& queue = status.queue();
  const v1::StepCosts& costs = status.step_costs();
  const v1::PleCache& ple = status.ple();
  const v1::PrefixCache& prefixes = status.prefix_cache();
  return {
      {"uptime_seconds", Rounded(status.uptime_seconds())},
      {"roles", roles},
      {"memory", ToJson(status.memory())},
      {"queue",
       {{"queued", queue.queued()},
        {"running", queue.running()},
        {"max_queued", queue.max_queued()},
        {"max_running", queue.max_running()},
        {"accepted", queue.accepted()},
        {"refused", queue.refused()},
        {"completed", queue.completed()},
        {"cancelled", queue.cancelled()},
        {"failed", queue.failed()},
        {"steps", queue.steps()},
        {"prompt_tokens", queue.prompt_tokens()},
        {"completion_tokens", queue.completion_tokens()},
        {"queued_low", queue.queued_low()},
        {"queued_normal", queue.queued_normal()},
        {"queued_high", queue.queued_high()},
        {"refused_too_large", queue.refused_too_large()},
        {"refused_queue_full", queue.refused_queue_full()},
        {"refused_deadline", queue.refused_deadline()}}},
      {"step_costs",
       {{"decode_step_ms", Rounded(costs.decode_step_ms())},
        {"prompt_row_ms", Rounded(costs.prompt_row_ms())},
        {"prompt_row_alone_ms", Rounded(costs.prompt_row_alone_ms())},
        {"place_ms", Rounded(costs.place_ms())},
        {"prompt_rows", costs.prompt_rows()}}},
      {"prefix_cache",
       {{"lookups", prefixes.lookups()},
        {"hits", prefixes.hits()},
        {"tokens_reused", prefixes.tokens_reused()},
        {"evictions", prefixes.evictions()},
        {"blocks", prefixes.blocks()},
        {"bytes", prefixes.bytes()},
        {"capacity", prefixes.capacity()}}},
      {"ple",
       {{"reads", ple.reads()},
        {"rows", ple.rows()},
        {"cache_hits", ple.cache_hits()},
        {"cache_misses", ple.cache_misses()},
        {"hit_rate", ple.hit_rate()},
        {"bytes_read", ple.bytes_read()},
        {"cache_bytes", ple.cache_bytes()},
        {"cache_capacity", ple.cache_capacity()},
        {"read_us_p50", Rounded(ple.read_us_p50())},
        {"read_us_p99", Rounded(ple.read_us_p99())},
        {"read_us_max", Rounded(ple.read_us_max())}}},
      {"vision",
       {{"loaded", status.vision().loaded()},
        {"weight_bytes", status.vision().weight_bytes()},
        {"activation_bytes", status.vision().activation_bytes()},
        {"loads", status.vision().loads()},
        {"unloads", status.vision().unloads()},
        {"images", status.vision().images()},
        {"encode_ms", Rounded(status.vision().encode_ms())},
        {"waiting", status.vision().waiting()},
        {"cache_hits", status.vision().cache_hits()},
        {"cache_misses", status.vision().cache_misses()},
        {"cache_bytes", status.vision().cache_bytes()},
        {"cache_capacity", status.vision().cache_capacity()},
        {"peers", VisionPeers(status.vision())}}},
      {"audio",
       {{"loaded", status.audio().loaded()},
        {"weight_bytes", status.audio().weight_bytes()},
        {"activation_bytes", status.audio().activation_bytes()},
        {"loads", status.audio().loads()},
        {"unloads", status.audio().unloads()},
        {"sounds", status.audio().sounds()},
        {"sound_seconds", Rounded(status.audio().sound_seconds())},
        {"encode_ms", Rounded(status.audio().encode_ms())},
        {"waiting", status.audio().waiting()},
        {"live", status.audio().live()},
        {"live_waiting_seconds",
         Rounded(status.audio().live_waiting_seconds())},
        {"live_batches", status.audio().live_batches()},
        {"live_batch_sounds", status.audio().live_batch_sounds()},
        {"cache_hits", status.audio().cache_hits()},
        {"cache_misses", status.audio().cache_misses()},
        {"cache_bytes", status.audio().cache_bytes()},
        {"cache_capacity", status.audio().cache_capacity()},
        {"peers", AudioPeers(status.audio())}}},
      {"kernels",
       {{"integer_products", status.kernels().integer_products()},
        {"vectors", status.kernels().vectors()},
        {"float_products", status.kernels().float_products()},
        {"threads", status.kernels().threads()}}},
      {"prompt_steps", ToJson(status.prompt_steps())},
      {"decode_steps", ToJson(status.decode_steps())},
  };
}

std::string NameOf(v1::StopReason reason) {
  const std::string name = v1::StopReason_Name(reason);
  return absl::AsciiStrToLower(absl::StripPrefix(name, "STOP_REASON_"));
}

std::string ToLine(const OutputJson& json) {
  return json.dump(-1, ' ', false, OutputJson::error_handler_t::replace);
}

}  // namespace lapidary::cli
