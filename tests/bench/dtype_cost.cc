// What packing a group of weights at another precision costs in answers:
// KL(f32 ‖ packed) of the log-probs, mean over all positions of the prompts,
// and the bundled model's right answers to held-out questions.
//
//   bazel run //tests/bench:dtype_cost
//
// On the bundled model (its 200 test conversations), and on the random models
// of tests/goldens/text, where errors grow from layer to layer as they do in no
// trained model. Both sides are ours: f32 agrees with Hugging Face (tests).
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "storage/json.h"
#include "storage/pack.h"
#include "tests/support/files.h"
#include "tests/support/nano_questions.h"
#include "tests/support/text_golden.h"
#include "tests/support/text_runner.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using Outputs = TextRunner::Outputs;

using Prompts = std::vector<std::vector<int32_t>>;

struct Variant {
  const char* name;
  PackDTypes dtypes;
};

std::vector<Variant> Variants() {
  const auto int4_but = [](std::map<MatrixGroup, DType> others) {
    return PackDTypes{DType::kInt4, std::move(others), DType::kBf16};
  };
  const std::map<MatrixGroup, DType> all_int8 = {
      {MatrixGroup::kHead, DType::kInt8},
      {MatrixGroup::kPerLayerInput, DType::kInt8},
      {MatrixGroup::kAltUp, DType::kInt8},
      {MatrixGroup::kLaurel, DType::kInt8}};
  std::vector<Variant> variants = {
      {"f32", {DType::kF32, {}, {}}},
      {"bf16", {DType::kBf16, {}, {}}},
      {"bf16, PLE table int8", {DType::kBf16, {}, DType::kInt8}},
      {"int8", {DType::kInt8, {}, {}}},
      {"int8, PLE table bf16", {DType::kInt8, {}, DType::kBf16}},
      {"int8, head int4",
       {DType::kInt8, {{MatrixGroup::kHead, DType::kInt4}}, {}}},
      {"int4 as it is packed", {DType::kInt4, {}, {}}},
      {"int4, head int8",
       {DType::kInt4, {{MatrixGroup::kHead, DType::kInt8}}, {}}},
      {"int4, PLE table bf16", {DType::kInt4, {}, DType::kBf16}},
      {"int4, other groups int8", int4_but(all_int8)},
  };
  for (const auto& [name, group] :
       {std::pair("  and head int4", MatrixGroup::kHead),
        {"  and per-layer input int4", MatrixGroup::kPerLayerInput},
        {"  and AltUp int4", MatrixGroup::kAltUp},
        {"  and LAuReL int4", MatrixGroup::kLaurel}}) {
    std::map<MatrixGroup, DType> others = all_int8;
    others[group] = DType::kInt4;
    variants.push_back({name, int4_but(others)});
  }
  std::map<MatrixGroup, DType> none;
  for (const auto& [group, dtype] : all_int8) none[group] = DType::kInt4;
  variants.push_back({"everything int4", int4_but(none)});
  return variants;
}

std::unique_ptr<TextRunner> OpenAs(const std::string& hf,
                                   const PackDTypes& dtypes,
                                   const TempDir& dir) {
  PackOptions options;
  options.source = hf;
  options.target = dir.Unused("packed");
  options.dtypes = dtypes;
  const absl::Status packed = Pack(options);
  EXPECT_TRUE(packed.ok()) << packed;
  auto runner = TextRunner::Open(options.target, {});
  EXPECT_TRUE(runner.ok()) << runner.status();
  return *std::move(runner);
}

std::vector<LogitRows> LogProbsOf(const std::string& hf,
                                  const PackDTypes& dtypes,
                                  const Prompts& prompts) {
  TempDir dir;
  const auto runner = OpenAs(hf, dtypes, dir);
  std::vector<LogitRows> answers;
  for (const std::vector<int32_t>& ids : prompts) {
    RunningSequence sequence = runner->Start(ids.size());
    answers.push_back(runner->Feed(&sequence, ids, 64, Outputs::kAll));
    for (std::vector<float>& row : answers.back()) row = LogProbs(row);
  }
  return answers;
}

struct Cost {
  double divergence = 0;  // nats
  double other_top = 0;   // share of positions whose likeliest id changed
};

Cost Compare(const std::vector<LogitRows>& exact,
             const std::vector<LogitRows>& got) {
  Cost cost;
  int64_t positions = 0;
  for (size_t prompt = 0; prompt < exact.size(); ++prompt) {
    for (size_t i = 0; i < exact[prompt].size(); ++i, ++positions) {
      const std::vector<float>& p = exact[prompt][i];
      const std::vector<float>& q = got[prompt][i];
      for (size_t id = 0; id < p.size(); ++id) {
        cost.divergence += std::exp(double{p[id]}) * (double{p[id]} - q[id]);
      }
      cost.other_top += Argmax(p, p.size()) != Argmax(q, q.size());
    }
  }
  cost.divergence /= positions;
  cost.other_top /= positions;
  return cost;
}

std::vector<Cost> CostsOn(const std::string& hf, const Prompts& prompts) {
  const auto exact = LogProbsOf(hf, {DType::kF32, {}, {}}, prompts);
  std::vector<Cost> costs;
  for (const Variant& variant : Variants()) {
    costs.push_back(Compare(exact, LogProbsOf(hf, variant.dtypes, prompts)));
  }
  return costs;
}

// The conversations with their right answers.
Prompts NanoPrompts() {
  const auto json = ParseJson(ReadBytes("tests/goldens/nano/text.json"), "");
  Prompts prompts;
  for (const Json& one : (*json)["cases"]) {
    prompts.push_back(one["ids"].get<std::vector<int32_t>>());
    const auto answer = one["greedy"].get<std::vector<int32_t>>();
    prompts.back().insert(prompts.back().end(), answer.begin(), answer.end());
  }
  return prompts;
}

// "98.6 %", of each task of the bundled model's.
std::string RightAnswers(const Variant& variant) {
  TempDir dir;
  const auto runner = OpenAs("deploy/models/nano", variant.dtypes, dir);
  std::string text;
  for (const std::string& task : NanoTextTasks()) {
    const std::vector<NanoQuestion> questions = HeldOutQuestions(task);
    absl::StrAppendFormat(
        &text, " %10.1f %%",
        100.0 * CountRight(runner.get(), questions) / questions.size());
  }
  return text;
}

void Main() {
  const std::vector<Cost> nano = CostsOn("deploy/models/nano", NanoPrompts());
  std::vector<Cost> random(nano.size());
  const std::vector<std::string> names = TextGoldenNames();
  for (const std::string& name : names) {
    const TextGolden golden = ReadTextGolden(name);
    TempDir dir;
    const auto hf =
        SynthFolder(dir, golden.config_json, golden.seed, golden.weight_dtype);
    Prompts prompts;
    for (const GoldenPrompt& prompt : golden.prompts) {
      prompts.push_back(prompt.ids);
    }
    const std::vector<Cost> costs = CostsOn(*hf, prompts);
    for (size_t i = 0; i < costs.size(); ++i) {
      random[i].divergence += costs[i].divergence / names.size();
      random[i].other_top += costs[i].other_top / names.size();
    }
  }
  std::printf("%-28s %21s %21s   bundled model, right answers\n", "",
              "random models", "bundled model");
  std::printf("%-28s %10s %10s %10s %10s", "", "KL", "other top", "KL",
              "other top");
  for (const std::string& task : NanoTextTasks()) {
    std::printf(" %12s", task.c_str());
  }
  std::printf("\n");
  const std::vector<Variant> variants = Variants();
  for (size_t i = 0; i < variants.size(); ++i) {
    std::printf("%-28s %10.2e %8.2f %% %10.2e %8.2f %%%s\n", variants[i].name,
                random[i].divergence, 100 * random[i].other_top,
                nano[i].divergence, 100 * nano[i].other_top,
                RightAnswers(variants[i]).c_str());
  }
}

}  // namespace
}  // namespace lapidary

int main() { lapidary::Main(); }
