#include "tests/bench/tower_model.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/pack.h"
#include "storage/synth.h"

namespace lapidary {
namespace {

std::string ConfigJson(const std::string& shape) {
  Json json = *ParseJson(*SynthShape(shape), shape);
  Json& text = json["text_config"];
  for (const auto& [name, value] :
       std::map<std::string, int>{{"vocab_size", 262400},
                                  {"vocab_size_per_layer_input", 64},
                                  {"hidden_size_per_layer_input", 8},
                                  {"num_hidden_layers", 1},
                                  {"num_kv_shared_layers", 0},
                                  {"head_dim", 16}}) {
    text[name] = value;
  }
  text["intermediate_size"] = 64;
  text["layer_types"] = {"full_attention"};
  text["activation_sparsity_pattern"] = {0.0};
  return json.dump();
}

}  // namespace

double Milliseconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now() - start)
      .count();
}

double PeakMegabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

void MakeTowerModel(const std::string& folder, const std::string& shape,
                    const PackDTypes& dtypes) {
  if (FileExists(folder + "/manifest.json")) return;
  SynthOptions synth;
  synth.config_json = ConfigJson(shape);
  synth.target = folder + "-checkpoint";
  absl::Status status = Synthesize(synth);
  if (status.ok()) {
    PackOptions pack;
    pack.source = synth.target;
    pack.target = folder;
    pack.dtypes = dtypes;
    status = Pack(pack);
  }
  RemoveAll(synth.target).IgnoreError();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }
}

}  // namespace lapidary
