#include "storage/pack.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/text/weights.h"
#include "storage/chat_template.h"
#include "storage/checkpoint.h"
#include "storage/json.h"
#include "storage/packed_model.h"
#include "storage/ple_store.h"
#include "storage/tensor_groups.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::PackedTensor;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kNano[] = "deploy/models/nano";

// All elements of a checkpoint's tensor as f32.
std::vector<float> SourceValues(const CheckpointTensor& tensor) {
  RowReader reader(tensor);
  const void* rows = reader.Read(0, tensor.rows());
  std::vector<float> values(tensor.entry.elements());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] =
        reader.dtype() == DType::kF32
            ? static_cast<const float*>(rows)[i]
            : kernels::Bf16ToFloat(static_cast<const uint16_t*>(rows)[i]);
  }
  return values;
}

// All elements of a packed tensor as f32, in the source's order.
std::vector<float> PackedValues(const PackedTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t dim : tensor.shape) elements *= dim;
  std::vector<float> values(elements);
  if (tensor.use == TensorUse::kPlain) {
    std::memcpy(values.data(), tensor.data, elements * sizeof(float));
    return values;
  }
  if (IsByNeuron(tensor.use, tensor.dtype)) {
    const bool rows = tensor.use == TensorUse::kNeuronRows;
    const int64_t neurons = tensor.shape[rows ? 0 : 1];
    const int64_t width = tensor.shape[rows ? 1 : 0];
    const auto* records = static_cast<const std::byte*>(tensor.data);
    std::vector<float> weights(width);
    for (int64_t neuron = 0; neuron < neurons; ++neuron) {
      kernels::DequantizeNeuron(
          tensor.dtype, width,
          records + neuron * kernels::NeuronBytes(tensor.dtype, width),
          weights.data());
      for (int64_t i = 0; i < width; ++i) {
        values[rows ? neuron * width + i : i * neurons + neuron] = weights[i];
      }
    }
    return values;
  }
  const int64_t n = tensor.shape[0] / tensor.row_blocks;
  const int64_t k = tensor.shape[1];
  const auto* block = static_cast<const std::byte*>(tensor.data);
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    UnpackWeightRow(tensor.dtype,
                    block + row / n * *WeightMatrixBytes(tensor.dtype, n, k),
                    row % n, k, &values[row * k]);
  }
  return values;
}

float Rounded(float value, DType dtype) {
  return dtype == DType::kF32
             ? value
             : kernels::Bf16ToFloat(kernels::FloatToBf16(value));
}

class PackTypesTest : public testing::TestWithParam<std::tuple<DType, DType>> {
};

TEST_P(PackTypesTest, EveryWeightArrivesExactly) {
  const auto [source_dtype, dtype] = GetParam();
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, source_dtype);
  ASSERT_TRUE(hf.ok()) << hf.status();
  const auto packed = PackFolder(dir, *hf, dtype);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto checkpoint = Checkpoint::Open(*hf);
  PackedModelOptions verify;
  verify.verify_weights = true;
  const auto model = PackedModel::Open(*packed, verify);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->dtype(), dtype);

  for (const TensorSpec& spec : TextTensorSpecs((*model)->config().text)) {
    if (spec.use == TensorUse::kPleTable) continue;
    const auto tensor = (*model)->Lookup()(spec.name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(tensor->shape, spec.shape);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor->data) % 4096, 0u);
    const DType stored = IsMatrix(spec.use) ? dtype : DType::kF32;
    EXPECT_EQ(tensor->dtype, stored);
    const std::vector<float> source =
        SourceValues(*(*checkpoint)->Find(spec.name));
    const std::vector<float> values = PackedValues(*tensor);
    ASSERT_EQ(values.size(), source.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], Rounded(source[i], stored)) << spec.name << i;
    }
  }
}

TEST_P(PackTypesTest, PleRowsKeepTheCheckpointsBytes) {
  const auto [source_dtype, dtype] = GetParam();
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, source_dtype);
  const auto packed = PackFolder(dir, *hf, dtype);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const PleTableShape& shape = (*model)->ple_shape();
  EXPECT_EQ(shape.tokens, 300);
  EXPECT_EQ(shape.layers, 6);
  EXPECT_EQ(shape.width, 8);
  EXPECT_EQ(shape.dtype, source_dtype);
  const auto store = PleStore::Open((*model)->ple_folder(), shape, {});
  ASSERT_TRUE(store.ok()) << store.status();
  std::vector<int32_t> ids(300);
  for (int id = 0; id < 300; ++id) ids[id] = id;
  const auto rows = (*store)->Read(ids, {0, 6});
  ASSERT_TRUE(rows.ok()) << rows.status();
  const auto checkpoint = Checkpoint::Open(*hf);
  const CheckpointTensor* table =
      (*checkpoint)->Find("embed_tokens_per_layer.weight");
  ASSERT_EQ(rows->bytes(), table->entry.bytes);
  EXPECT_EQ(std::memcmp(rows->raw(), table->file->data() + table->entry.offset,
                        rows->bytes()),
            0);
}

INSTANTIATE_TEST_SUITE_P(
    , PackTypesTest,
    testing::Combine(testing::Values(DType::kBf16, DType::kF32),
                     testing::Values(DType::kBf16, DType::kF32)),
    [](const auto& info) {
      return std::string(NameOf(std::get<0>(info.param))) + "_as_" +
             NameOf(std::get<1>(info.param));
    });

class PackQuantisedTest : public testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(, PackQuantisedTest,
                         testing::Values(DType::kInt8, DType::kInt4),
                         [](const auto& info) {
                           return std::string(NameOf(info.param));
                         });

TEST_P(PackQuantisedTest, EveryMatrixIsNear_AndTheRestIsExact) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  const auto packed = PackFolder(dir, *hf, GetParam());
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto checkpoint = Checkpoint::Open(*hf);
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->dtype(), GetParam());
  for (const TensorSpec& spec : TextTensorSpecs((*model)->config().text)) {
    if (spec.use == TensorUse::kPleTable) continue;
    const auto tensor = (*model)->Lookup()(spec.name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(tensor->dtype, PackedDType(spec, {GetParam(), {}, {}}));
    const auto source = SourceValues(*(*checkpoint)->Find(spec.name));
    const auto values = PackedValues(*tensor);
    double error = 0, size = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      error += std::pow(double{values[i]} - source[i], 2);
      size += std::pow(source[i], 2);
    }
    const double bound = tensor->dtype == DType::kInt4   ? 0.12
                         : tensor->dtype == DType::kInt8 ? 0.01
                                                         : 0;
    EXPECT_LE(std::sqrt(error / size), bound) << spec.name;
  }
}

TEST_P(PackQuantisedTest, TheHeadCanHaveAnotherDType) {
  TempDir dir;
  PackOptions options;
  options.source = *SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  for (const DType head : {DType::kInt8, DType::kInt4}) {
    options.target = dir.Unused("packed");
    options.dtypes = {GetParam(), {{MatrixGroup::kHead, head}}, {}};
    ASSERT_TRUE(Pack(options).ok());
    const auto model = PackedModel::Open(options.target, {});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->Lookup()("embed_tokens.weight")->dtype, head);
    EXPECT_EQ((*model)->Lookup()("layers.0.mlp.up_proj.weight")->dtype,
              GetParam());
  }
}

TEST_P(PackQuantisedTest, GroupsSayWhatIsWhere_AndWhatItCosts) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  const auto packed = PackFolder(dir, *hf, GetParam());
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  uint64_t bytes = 0;
  for (const TensorGroup& group : (*model)->groups()) {
    bytes += group.bytes;
    const bool big = group.name == "attention" || group.name == "FFN" ||
                     group.name == "embedding and head";
    const DType dtype = group.name == "norms and coefficients" ? DType::kF32
                        : big                                  ? GetParam()
                                                               : DType::kInt8;
    EXPECT_EQ(group.dtype, dtype) << group.name;
    EXPECT_GT(group.tensors, 0) << group.name;
    EXPECT_GE(group.rms_error, dtype == DType::kF32 ? 0 : 1e-4) << group.name;
    EXPECT_LE(group.rms_error, dtype == DType::kInt4   ? 0.12
                               : dtype == DType::kInt8 ? 0.01
                                                       : 0)
        << group.name;
  }
  EXPECT_EQ((*model)->groups().size(), 7u);
  EXPECT_GT(bytes, 0u);
  EXPECT_LE(bytes, (*model)->weight_bytes());  // which are padded
}

TEST(Pack, SamePackTwice_IsTheSameToTheByte) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  const auto first = PackFolder(dir, *hf, DType::kInt4);
  const auto second = PackFolder(dir, *hf, DType::kInt4);
  for (const char* file : {"/weights/global.bin", "/weights/layer_003.bin"}) {
    EXPECT_EQ(ReadBytes(*first + file), ReadBytes(*second + file)) << file;
  }
}

TEST(Pack, WeightThatIsNoNumber_IsRefusedByName) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kF32);
  const size_t at = (*Checkpoint::Open(*hf))
                        ->Find("layers.2.mlp.down_proj.weight")
                        ->entry.offset;
  std::string bytes = ReadBytes(*hf + "/model.safetensors");
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(&bytes[at + 40], &bad, sizeof(bad));
  WriteBytes(*hf + "/model.safetensors", bytes);
  const auto status = PackFolder(dir, *hf, DType::kInt4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("layers.2.mlp.down_proj.weight"));
}

TEST(Pack, WeightsOfTheDecoderBind) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  const auto packed = PackFolder(dir, *hf, DType::kF32);
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto weights = kernels::text::BindTextWeights(
      (*model)->config().text, {0, 6}, (*model)->Lookup());
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->layers.size(), 6u);
  EXPECT_TRUE(weights->layers[3].k_proj.empty());
  EXPECT_EQ(
      (*model)->Lookup()("layers.3.self_attn.k_proj.weight").status().code(),
      absl::StatusCode::kNotFound);
}

TEST(Pack, HalfPrecisionIsWidened) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  // The same bits, called F16.
  const std::string path = *hf + "/model.safetensors";
  std::string bytes = ReadBytes(path);
  const size_t header = bytes.find('{');
  for (size_t at = bytes.find("\"BF16\""); at < bytes.find("}}", header);
       at = bytes.find("\"BF16\"", at + 1)) {
    bytes.replace(at, 6, "\"F16\" ");
  }
  WriteBytes(path, bytes);
  const auto packed = PackFolder(dir, *hf, DType::kF32);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->ple_shape().dtype, DType::kF32);
  const auto checkpoint = Checkpoint::Open(*hf);
  const CheckpointTensor& source =
      *(*checkpoint)->Find("layers.1.mlp.down_proj.weight");
  ASSERT_EQ(source.entry.dtype, "F16");
  EXPECT_EQ(PackedValues(*(*model)->Lookup()("layers.1.mlp.down_proj.weight")),
            SourceValues(source));
}

TEST(Pack, NanoKeepsItsNameFilesAndCounts) {
  TempDir dir;
  const auto packed = PackFolder(dir, kNano, DType::kBf16);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const ParameterCounts counts = (*Checkpoint::Open(kNano))->CountParameters();
  EXPECT_GT(counts.vision, 0);
  EXPECT_GT(counts.audio, 0);
  EXPECT_EQ((*model)->parameters().text, counts.text);
  EXPECT_EQ((*model)->parameters().ple, counts.ple);
  EXPECT_EQ((*model)->parameters().vision, counts.vision);
  EXPECT_EQ((*model)->parameters().audio, counts.audio);
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.model",
        "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "processor_config.json"}) {
    EXPECT_EQ(ReadBytes(*packed + "/" + name),
              ReadBytes(std::string(kNano) + "/" + name));
  }
  EXPECT_FALSE(std::filesystem::exists(*packed + "/packing-unfinished"));
}

// A copy of nano that may be changed.
std::string NanoCopy(const TempDir& dir) {
  const std::string copy = dir.File("nano");
  std::filesystem::create_directory(copy);
  for (const auto& entry : std::filesystem::directory_iterator(kNano)) {
    WriteBytes(copy + "/" + entry.path().filename().string(),
               ReadBytes(entry.path().string()));
  }
  return copy;
}

TEST(Pack, NameIsTheLastPartOfTheSourcesPath) {
  TempDir dir;
  const auto packed = PackFolder(dir, NanoCopy(dir) + "/", DType::kBf16);
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ((*PackedModel::Open(*packed, {}))->name(), "nano");
}

TEST(Pack, UnknownChatTemplateIsRefusedUnlessAssumed) {
  TempDir dir;
  PackOptions options;
  options.source = NanoCopy(dir);
  options.target = dir.File("packed");
  WriteBytes(options.source + "/chat_template.jinja",
             "{{ bos_token }}{{ messages[0].content }}");
  const absl::Status refused = Pack(options);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("--chat-template=gemma3n"));
  EXPECT_FALSE(std::filesystem::exists(options.target));
  options.assume_gemma3n_template = true;
  EXPECT_TRUE(Pack(options).ok());
}

// As transformers' processors saved it before the .jinja files.
TEST(Pack, ChatTemplateInJsonIsCheckedAndCopied) {
  TempDir dir;
  const std::string source = NanoCopy(dir);
  const std::string jinja = source + "/chat_template.jinja";
  WriteBytes(source + "/chat_template.json",
             Json{{"chat_template", ReadBytes(jinja)}}.dump());
  std::filesystem::remove(jinja);
  const auto packed = PackFolder(dir, source, DType::kBf16);
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_TRUE(std::filesystem::exists(*packed + "/chat_template.json"));
  const absl::Status checked = CheckChatTemplate(*packed);
  EXPECT_TRUE(checked.ok()) << checked;
  const auto model = PackedModel::Open(*packed, {});
  EXPECT_TRUE(model.ok()) << model.status();
}

TEST(Pack, TokenizerOfAnotherModelIsRefused) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  for (const char* name : {"tokenizer.model", "tokenizer.json",
                           "tokenizer_config.json", "chat_template.jinja"}) {
    WriteBytes(*hf + "/" + name, ReadBytes(std::string(kNano) + "/" + name));
  }
  const absl::Status status = PackFolder(dir, *hf, DType::kBf16).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("tokenizer.model"), HasSubstr("vocab_size = 320")));
}

TEST(Pack, BrokenTokenizerIsRefused) {
  TempDir dir;
  const std::string source = NanoCopy(dir);
  const std::string model = ReadBytes(source + "/tokenizer.model");
  WriteBytes(source + "/tokenizer.model", "not a sentencepiece model");
  EXPECT_THAT(
      std::string(PackFolder(dir, source, DType::kBf16).status().message()),
      HasSubstr("tokenizer.model"));
  std::filesystem::remove(source + "/tokenizer.model");
  EXPECT_THAT(
      std::string(PackFolder(dir, source, DType::kBf16).status().message()),
      HasSubstr("without tokenizer.model"));
}

TEST(Pack, ForeignFilesInTheTargetAreLeftAlone) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  PackOptions options;
  options.source = *hf;
  options.target = dir.File("target");
  std::filesystem::create_directory(options.target);
  // A name that packing would write itself.
  WriteBytes(options.target + "/config.json", "mine");
  const absl::Status status = Pack(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("config.json"));
  EXPECT_EQ(ReadBytes(options.target + "/config.json"), "mine");
}

TEST(Pack, FinishedModelIsNotOverwritten) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  PackOptions options;
  options.source = *hf;
  options.target = *PackFolder(dir, *hf, DType::kBf16);
  EXPECT_EQ(Pack(options).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(PackedModel::Open(options.target, {}).ok());
}

TEST(Pack, SourceIsNotItsOwnTarget) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  PackOptions options;
  options.source = *hf;
  options.target = *hf;
  EXPECT_EQ(Pack(options).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Checkpoint::Open(*hf).ok());
}

TEST(Pack, WrongCheckpointLeavesNoTarget) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  Json json = *ParseJson(TinyConfigJson(), "tiny");
  json["hidden_size"] = 128;
  WriteBytes(*hf + "/config.json", json.dump());
  PackOptions options;
  options.source = *hf;
  options.target = dir.File("target");
  const absl::Status status = Pack(options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("embed_tokens.weight: BF16 [320, 64]"),
                    HasSubstr("[320, 128]")));
  EXPECT_FALSE(std::filesystem::exists(options.target));
}

TEST(Pack, ProgressEndsAtTheTotal) {
  TempDir dir;
  const auto hf = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  PackOptions options;
  options.source = *hf;
  options.target = dir.File("packed");
  uint64_t done = 0, total = 1;
  options.progress = [&](absl::string_view, uint64_t bytes, uint64_t of) {
    EXPECT_GE(bytes, done);
    done = bytes;
    total = of;
  };
  ASSERT_TRUE(Pack(options).ok());
  EXPECT_EQ(done, total);
}

}  // namespace
}  // namespace lapidary
