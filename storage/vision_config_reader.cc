#include "storage/vision_config_reader.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lapidary {
namespace {

using kernels::Padding;
using kernels::vision::BlockConfig;
using kernels::vision::BlockType;
using kernels::vision::VisionConfig;

constexpr char kEncoder[] = "mobilenetv5_300m_enc";
constexpr char kBackbone[] = "mobilenetv5_300m";

constexpr int64_t kMaxChannels = 1 << 16;
constexpr int64_t kMaxKernel = 7;
// From there on timm dilates instead of striding.
constexpr size_t kMaxStages = 4;
constexpr size_t kMaxBlocks = 1024;  // of a stage

absl::Status Unimplemented(const std::string& name, const Json& value,
                           absl::string_view wanted) {
  return absl::UnimplementedError(
      absl::StrCat(name, " is ", JsonForMessage(value), ": ", wanted));
}

// Refuses what would change the arithmetic: names that are not `known`.
void CheckNames(const Json& object, std::initializer_list<const char*> known,
                JsonFields* fields) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      fields->Fail(Unimplemented(fields->Name(name), value,
                                 absl::StrCat("this program knows only ",
                                              absl::StrJoin(known, ", "))));
      return;
    }
  }
}

// timm's make_divisible.
int64_t Divisible(double value) {
  const auto up = static_cast<int64_t>(value + 4.0) / 8 * 8;
  const int64_t rounded = std::max<int64_t>(8, up);
  return static_cast<double>(rounded) < 0.9 * value ? rounded + 8 : rounded;
}

// timm's round_channels.
int64_t RoundChannels(int64_t channels, double multiplier) {
  return multiplier == 0
             ? channels
             : Divisible(static_cast<double>(channels) * multiplier);
}

double NumberIn(JsonFields* fields, const char* name, double fallback,
                double min, double max) {
  const double value = fields->Number(name, fallback);
  if (value >= min && value <= max) return value;
  fields->Fail(name, absl::StrCat("want a number from ", min, " to ", max));
  return fallback;
}

// Odd, or 0 where `absent` is allowed.
int64_t ReadKernel(JsonFields* fields, const char* name, int64_t fallback,
                   bool absent) {
  const int64_t kernel =
      fields->Int(name, fallback, absent ? 0 : 1, kMaxKernel);
  if (kernel % 2 == 0 && !(absent && kernel == 0)) {
    fields->Fail(name, "want an odd kernel size");
  }
  return kernel;
}

// Arguments whose only supported value means that something is not there.
void CheckAbsent(JsonFields* fields, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const Json* value = fields->Find(name);
    if (value == nullptr || *value == false || *value == 0) continue;
    fields->Fail(Unimplemented(fields->Name(name), *value,
                               "Gemma 3n's blocks have none"));
  }
}

// What blocks are built from, besides their own arguments.
struct Builder {
  double multiplier = 1.0;
  int64_t channels = 0;  // of the block before
};

void ReadEdgeResidual(const Json& object, JsonFields* fields,
                      const Builder& builder, BlockConfig* b) {
  CheckNames(object,
             {"block_type", "out_chs", "stride", "act_layer", "exp_kernel_size",
              "pw_kernel_size", "exp_ratio", "force_in_chs", "se_ratio",
              "noskip", "group_size", "s2d"},
             fields);
  CheckAbsent(fields, {"group_size"});
  b->type = BlockType::kEdgeResidual;
  b->exp_kernel = ReadKernel(fields, "exp_kernel_size", 3, false);
  if (fields->Int("pw_kernel_size", 1, 1, kMaxKernel) != 1) {
    fields->Fail("pw_kernel_size", "want 1");
  }
  const int64_t forced = fields->Int("force_in_chs", 0, 0, kMaxChannels);
  const int64_t in =
      forced > 0 ? RoundChannels(forced, builder.multiplier) : b->in;
  const double ratio = NumberIn(fields, "exp_ratio", 1.0, 0.01, 64);
  b->mid = Divisible(static_cast<double>(in) * ratio);
}

void ReadInvertedResidual(const Json& object, JsonFields* fields,
                          BlockConfig* b) {
  CheckNames(
      object,
      {"block_type", "out_chs", "stride", "act_layer", "dw_kernel_size_start",
       "dw_kernel_size_mid", "dw_kernel_size_end", "exp_ratio", "se_ratio",
       "noskip", "group_size", "s2d"},
      fields);
  CheckAbsent(fields, {"dw_kernel_size_end"});
  if (fields->Int("group_size", 1, 0, kMaxChannels) != 1) {
    fields->Fail("group_size", "want 1: depthwise");
  }
  b->type = BlockType::kInvertedResidual;
  b->layer_scale = true;
  b->dw_start = ReadKernel(fields, "dw_kernel_size_start", 0, true);
  b->dw_mid = ReadKernel(fields, "dw_kernel_size_mid", 3, true);
  const double ratio = NumberIn(fields, "exp_ratio", 1.0, 0.01, 64);
  b->mid = Divisible(static_cast<double>(b->in) * ratio);
  if (b->stride > 1 && b->dw_start == 0 && b->dw_mid == 0) {
    fields->Fail("stride", "want 1, or a depthwise kernel that can stride");
  }
}

void ReadAttention(const Json& object, JsonFields* fields, BlockConfig* b) {
  CheckNames(object,
             {"block_type", "out_chs", "stride", "act_layer", "dw_kernel_size",
              "num_heads", "key_dim", "value_dim", "kv_stride", "noskip",
              "se_ratio", "query_strides", "use_cpe", "use_bias", "s2d"},
             fields);
  CheckAbsent(fields, {"use_cpe", "use_bias"});
  if (const Json* strides = fields->Find("query_strides")) {
    if (*strides != 1 && *strides != Json::array({1, 1})) {
      fields->Fail(Unimplemented(fields->Name("query_strides"), *strides,
                                 "Gemma 3n's queries are not strided (1)"));
    }
  }
  b->type = BlockType::kAttention;
  b->layer_scale = true;
  b->num_heads = fields->Int("num_heads", 8, 1, 1024);
  const int64_t share = std::max<int64_t>(1, b->in / b->num_heads);
  b->key_dim = fields->Int("key_dim", 64, 0, 4096);
  b->value_dim = fields->Int("value_dim", 64, 0, 4096);
  if (b->key_dim == 0) b->key_dim = share;
  if (b->value_dim == 0) b->value_dim = share;
  b->kv_stride = fields->Int("kv_stride", 1, 1, 8);
  b->kv_kernel = ReadKernel(fields, "dw_kernel_size", 3, false);
}

// One block, whose place in its stage decides about its stride.
BlockConfig ReadBlock(const Json& object, const std::string& path, bool first,
                      Builder* builder, absl::Status* status) {
  JsonFields fields(object, path);
  BlockConfig b;
  b.in = builder->channels;
  b.out = RoundChannels(fields.Int("out_chs", 0, 1, kMaxChannels),
                        builder->multiplier);
  if (!fields.Has("out_chs")) fields.Fail("out_chs", "want an integer");
  // timm strides the first block of a stage only.
  const int64_t stride = fields.Int("stride", 1, 1, 2);
  b.stride = first ? stride : 1;
  if (first && stride != 2) {
    fields.Fail(absl::UnimplementedError(
        absl::StrCat(fields.Name("stride"), " is ", stride,
                     ": the first block of each stage must have 2")));
  }
  CheckAbsent(&fields, {"act_layer", "se_ratio", "s2d"});
  const std::string type = fields.String("block_type", "");
  if (type == "er") {
    ReadEdgeResidual(object, &fields, *builder, &b);
  } else if (type == "uir") {
    ReadInvertedResidual(object, &fields, &b);
  } else if (type == "mqa" && !first) {
    ReadAttention(object, &fields, &b);
  } else {
    fields.Fail(absl::UnimplementedError(absl::StrCat(
        fields.Name("block_type"), " is ", JsonForMessage(type),
        ": Gemma 3n's stages begin with er or uir and go on with er, uir or "
        "mqa")));
  }
  b.skip = b.stride == 1 && b.in == b.out && !fields.Bool("noskip", false);
  builder->channels = b.out;
  if (status->ok()) *status = fields.status();
  return b;
}

Json EdgeResidual(int64_t stride, int64_t out) {
  return {{"block_type", "er"},
          {"exp_kernel_size", 3},
          {"stride", stride},
          {"exp_ratio", 4.0},
          {"out_chs", out}};
}

Json InvertedResidual(int64_t start, int64_t mid, int64_t stride, double ratio,
                      int64_t out) {
  return {{"block_type", "uir"},       {"dw_kernel_size_start", start},
          {"dw_kernel_size_mid", mid}, {"stride", stride},
          {"exp_ratio", ratio},        {"out_chs", out}};
}

Json Attention(int64_t heads, int64_t dim, int64_t kv_stride, int64_t out) {
  return {{"block_type", "mqa"},    {"dw_kernel_size", 3}, {"stride", 1},
          {"num_heads", heads},     {"key_dim", dim},      {"value_dim", dim},
          {"kv_stride", kv_stride}, {"out_chs", out}};
}

// The blocks of mobilenetv5_300m where block_args does not say other ones.
Json DefaultBlocks() {
  Json stages = Json::array();
  stages.push_back(
      {EdgeResidual(2, 128), EdgeResidual(1, 128), EdgeResidual(1, 128)});
  stages.push_back(
      {InvertedResidual(3, 5, 2, 6, 256), InvertedResidual(5, 0, 1, 4, 256),
       InvertedResidual(3, 0, 1, 4, 256), InvertedResidual(5, 0, 1, 4, 256),
       InvertedResidual(3, 0, 1, 4, 256)});
  Json third = Json::array({InvertedResidual(5, 5, 2, 6, 640)});
  for (int i = 0; i < 7; ++i) {
    third.push_back(InvertedResidual(5, 0, 1, 4, 640));
  }
  third.push_back(InvertedResidual(0, 0, 1, 1, 640));
  for (int i = 0; i < 14; ++i) {
    third.push_back(Attention(12, 64, 2, 640));
    third.push_back(InvertedResidual(0, 0, 1, 2, 640));
  }
  stages.push_back(std::move(third));
  Json fourth = Json::array({InvertedResidual(5, 5, 2, 6, 1280)});
  for (int i = 0; i < 19; ++i) {
    fourth.push_back(Attention(16, 96, 1, 1280));
    fourth.push_back(InvertedResidual(0, 0, 1, 2, 1280));
  }
  stages.push_back(std::move(fourth));
  return stages;
}

void ReadStages(const Json& stages, const std::string& path, Builder builder,
                JsonFields* fields, VisionConfig* c) {
  if (!stages.is_array() || stages.empty() || stages.size() > kMaxStages) {
    fields->Fail("block_args",
                 absl::StrCat("want a list of 1 to ", kMaxStages, " stages"));
    return;
  }
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    const Json& blocks = stages[stage];
    const std::string stage_path = absl::StrCat(path, "[", stage, "]");
    if (!blocks.is_array() || blocks.empty() || blocks.size() > kMaxBlocks) {
      fields->FailAt(
          absl::StrCat("block_args[", stage, "]"), blocks,
          absl::StrCat("want a list of 1 to ", kMaxBlocks, " blocks"));
      return;
    }
    c->stages.emplace_back();
    absl::Status status;
    for (size_t block = 0; block < blocks.size(); ++block) {
      c->stages.back().push_back(
          ReadBlock(blocks[block], absl::StrCat(stage_path, "[", block, "]"),
                    block == 0, &builder, &status));
      if (!status.ok()) {
        fields->Fail(status);
        return;
      }
    }
  }
}

// timm's feature_take_indices, and the order in which its forward pass meets
// the features.
void ReadMsfaFeatures(JsonFields* fields, VisionConfig* c) {
  const auto features = static_cast<int64_t>(c->stages.size()) + 1;
  std::vector<int64_t> indices = {-2, -1};
  if (const Json* list = fields->Find("msfa_indices")) {
    if (!list->is_array() || list->empty() || list->size() > kMaxStages + 1) {
      fields->Fail("msfa_indices", "want a list of features");
      return;
    }
    indices = fields->IntOrList("msfa_indices", 0, list->size(), -features,
                                features - 1);
  }
  for (const int64_t index : indices) {
    const int64_t feature = index < 0 ? index + features : index;
    if (feature < 0) {
      fields->Fail(absl::InvalidArgumentError(
          absl::StrCat(fields->Name("msfa_indices"), " has ", index,
                       ", but there are ", features, " features")));
      return;
    }
    c->msfa_features.push_back(feature);
  }
  std::sort(c->msfa_features.begin(), c->msfa_features.end());
  if (std::adjacent_find(c->msfa_features.begin(), c->msfa_features.end()) !=
      c->msfa_features.end()) {
    fields->Fail("msfa_indices", "want each feature once");
  } else if (c->msfa_in() % 8 != 0) {
    fields->Fail("stem_size", "want a multiple of 8: the MSFA reads it");
  }
}

// timm's create_model drops arguments that are None: their defaults count.
void RemoveNulls(Json* args) {
  if (!args->is_object()) return;
  for (auto it = args->begin(); it != args->end();) {
    it = it->is_null() ? args->erase(it) : std::next(it);
  }
}

void ReadModelArgs(const Json& object, const std::string& path,
                   const std::string& architecture, VisionConfig* c,
                   absl::Status* status) {
  JsonFields fields(object, path);
  const bool encoder = architecture == kEncoder;
  if (object.is_object()) {
    CheckNames(
        object,
        {"pad_type", "stem_bias", "stem_size", "fix_stem", "num_features",
         "msfa_indices", "msfa_output_resolution", "channel_multiplier",
         "block_args", "layer_scale_init_value", "group_size", "in_chans",
         "use_msfa", "drop_rate", "drop_path_rate", "se_from_exp"},
        &fields);
  }
  CheckAbsent(&fields, {"group_size"});
  if (fields.Int("in_chans", 3, 1, 1024) != 3) {
    fields.Fail("in_chans", "want 3: red, green and blue");
  }
  if (!fields.Bool("use_msfa", true)) fields.Fail("use_msfa", "want true");
  const std::string pad = fields.String("pad_type", encoder ? "same" : "");
  if (pad != "same" && !pad.empty()) {
    fields.Fail("pad_type", "want \"same\" or \"\"");
  }
  c->padding = pad == "same" ? Padding::kSame : Padding::kSymmetric;
  Builder builder;
  builder.multiplier = NumberIn(&fields, "channel_multiplier", 1.0, 0, 16);
  c->stem_bias = fields.Bool("stem_bias", true);
  c->stem_size = fields.Int("stem_size", 64, 1, kMaxChannels);
  if (!fields.Bool("fix_stem", builder.multiplier < 1.0)) {
    c->stem_size = RoundChannels(c->stem_size, builder.multiplier);
  }
  // The encoder's width is fixed in timm.
  const int64_t features = fields.Int("num_features", 2048, 1, kMaxChannels);
  if ((encoder ? 2048 : features) != c->hidden_size) {
    fields.Fail(absl::InvalidArgumentError(absl::StrCat(
        fields.Name("num_features"), " is ", encoder ? 2048 : features,
        ", but vision_config.hidden_size is ", c->hidden_size,
        ": want the same")));
  }
  c->msfa_output_resolution = fields.Int("msfa_output_resolution", 16, 1, 256);
  builder.channels = c->stem_size;
  const Json* given = fields.Find("block_args");
  const Json blocks = given == nullptr ? DefaultBlocks() : *given;
  if (fields.ok()) {
    ReadStages(blocks, fields.Name("block_args"), builder, &fields, c);
  }
  if (fields.ok()) ReadMsfaFeatures(&fields, c);
  *status = fields.status();
}

}  // namespace

absl::StatusOr<VisionConfig> ReadVisionConfig(const Json& object,
                                              const std::string& path,
                                              int64_t text_hidden_size) {
  JsonFields fields(object, path);
  VisionConfig c;
  c.text_hidden_size = text_hidden_size;
  c.hidden_size = fields.Int("hidden_size", 2048, 1, kMaxChannels);
  c.vocab_size = fields.Int("vocab_size", 128, 1, 1 << 20);
  c.vocab_offset = fields.Int("vocab_offset", 262144, 0, 1 << 30);
  c.rms_norm_eps =
      static_cast<float>(NumberIn(&fields, "rms_norm_eps", 1e-6, 0, 1));
  const std::string architecture = fields.String("architecture", kEncoder);
  if (architecture != kEncoder && architecture != kBackbone) {
    fields.Fail(absl::UnimplementedError(absl::StrCat(
        fields.Name("architecture"), " is ", JsonForMessage(architecture),
        ": Gemma 3n has ", kEncoder, " or ", kBackbone)));
  }
  if (!fields.ok()) return fields.status();
  Json args = Json::object();
  if (const Json* given = fields.Find("model_args")) args = *given;
  RemoveNulls(&args);
  absl::Status status;
  ReadModelArgs(args, fields.Name("model_args"), architecture, &c, &status);
  if (!status.ok()) return status;
  return c;
}

}  // namespace lapidary
