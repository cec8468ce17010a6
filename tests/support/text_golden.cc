#include "tests/support/text_golden.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/json.h"
#include "storage/safetensors.h"
#include "tests/support/files.h"

namespace lapidary {
namespace {

constexpr char kFolder[] = "tests/goldens/text";

std::vector<std::vector<float>> ReadMatrix(const SafetensorsFile& file,
                                           const std::string& name) {
  std::vector<std::vector<float>> rows;
  for (const SafetensorsEntry& entry : file.entries()) {
    if (entry.name != name) continue;
    const int64_t columns = entry.shape[1];
    rows.assign(entry.shape[0], std::vector<float>(columns));
    const std::byte* from = file.file().data() + entry.offset;
    for (auto& row : rows) {
      std::memcpy(row.data(), from, columns * sizeof(float));
      from += columns * sizeof(float);
    }
  }
  EXPECT_FALSE(rows.empty()) << name;
  return rows;
}

}  // namespace

double TextGolden::Tolerance() const {
  return std::max(1e-4, 4 * float32_noise);
}

std::vector<std::string> TextGoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename();
    if (name != "spec") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

TextGolden ReadTextGolden(const std::string& name) {
  const std::string folder = absl::StrCat(kFolder, "/", name, "/");
  TextGolden golden;
  golden.name = name;
  golden.config_json = ReadBytes(folder + "config.json");
  const auto json = ParseJson(ReadBytes(folder + "golden.json"), name);
  EXPECT_TRUE(json.ok()) << json.status();
  golden.seed = json->value("seed", 0u);
  golden.weight_dtype = json->at("weight_dtype") == "bfloat16"
                            ? kernels::DType::kBf16
                            : kernels::DType::kF32;
  golden.float32_noise = json->at("float32_noise");
  const auto file = SafetensorsFile::Open(folder + "logprobs.safetensors");
  EXPECT_TRUE(file.ok()) << file.status();
  for (const Json& prompt : json->at("prompts")) {
    GoldenPrompt& read = golden.prompts.emplace_back();
    read.ids = prompt.at("ids").get<std::vector<int32_t>>();
    read.greedy = prompt.value("greedy", std::vector<int32_t>());
    read.margins = prompt.value("margins", std::vector<float>());
    read.logprobs =
        ReadMatrix(**file, absl::StrCat("prompt", golden.prompts.size() - 1));
  }
  return golden;
}

absl::StatusOr<std::string> PackGolden(const TempDir& dir,
                                       const TextGolden& golden,
                                       kernels::DType dtype) {
  const auto hf =
      SynthFolder(dir, golden.config_json, golden.seed, golden.weight_dtype);
  if (!hf.ok()) return hf.status();
  return PackFolder(dir, *hf, dtype);
}

}  // namespace lapidary
