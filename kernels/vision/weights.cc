#include "kernels/vision/weights.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/text/tensor_binder.h"

namespace lapidary::kernels::vision {
namespace {

using text::TensorBinder;
using text::TensorLookup;
using text::TensorSpec;
using text::TensorUse;

constexpr char kTower[] = "vision_tower.timm_model.";
constexpr char kEmbedder[] = "embed_vision.";

// Lists tensors; the calls read as the checkpoint's inventory.
class SpecList {
 public:
  void Plain(const std::string& name, const std::vector<int64_t>& shape) {
    Add(name, shape, TensorUse::kPlain, shape);
  }
  void Matrix(const std::string& name, int64_t out, int64_t in) {
    Add(name, {out, in}, TensorUse::kGemm, {out, in});
  }
  void Conv(const std::string& name, int64_t out, int64_t in, int64_t kernel) {
    Add(name, {out, in, kernel, kernel}, TensorUse::kGemm,
        {out, kernel * kernel * in});
  }
  void Depthwise(const std::string& conv, const std::string& norm,
                 int64_t channels, int64_t kernel) {
    Add(conv, {channels, 1, kernel, kernel}, TensorUse::kPlain,
        {kernel * kernel, channels});
    Plain(norm, {channels});
  }
  std::vector<VisionTensorSpec> Take() { return std::move(specs_); }

 private:
  void Add(const std::string& name, std::vector<int64_t> shape, TensorUse use,
           std::vector<int64_t> packed) {
    specs_.push_back(
        {TensorSpec{name, std::move(packed), use, -1}, std::move(shape)});
  }
  std::vector<VisionTensorSpec> specs_;
};

void AppendEdgeResidual(const BlockConfig& b, const std::string& at,
                        SpecList* list) {
  list->Conv(at + "conv_exp.weight", b.mid, b.in, b.exp_kernel);
  list->Plain(at + "bn1.weight", {b.mid});
  list->Conv(at + "conv_pwl.weight", b.out, b.mid, 1);
  list->Plain(at + "bn2.weight", {b.out});
}

void AppendInvertedResidual(const BlockConfig& b, const std::string& at,
                            SpecList* list) {
  if (b.dw_start > 0) {
    list->Depthwise(at + "dw_start.conv.weight", at + "dw_start.bn.weight",
                    b.in, b.dw_start);
  }
  list->Conv(at + "pw_exp.conv.weight", b.mid, b.in, 1);
  list->Plain(at + "pw_exp.bn.weight", {b.mid});
  if (b.dw_mid > 0) {
    list->Depthwise(at + "dw_mid.conv.weight", at + "dw_mid.bn.weight", b.mid,
                    b.dw_mid);
  }
  list->Conv(at + "pw_proj.conv.weight", b.out, b.mid, 1);
  list->Plain(at + "pw_proj.bn.weight", {b.out});
}

void AppendAttention(const BlockConfig& b, const std::string& at,
                     SpecList* list) {
  list->Plain(at + "norm.weight", {b.in});
  list->Conv(at + "attn.query.proj.weight", b.num_heads * b.key_dim, b.in, 1);
  for (const bool key : {true, false}) {
    const std::string part = at + (key ? "attn.key." : "attn.value.");
    if (b.kv_stride > 1) {
      list->Depthwise(part + "down_conv.weight", part + "norm.weight", b.in,
                      b.kv_kernel);
    }
    list->Conv(part + "proj.weight", key ? b.key_dim : b.value_dim, b.in, 1);
  }
  list->Conv(at + "attn.output.proj.weight", b.out, b.num_heads * b.value_dim,
             1);
}

std::string BlockName(size_t stage, size_t block) {
  return absl::StrCat("blocks.", stage, ".", block);
}

void AppendBlock(const BlockConfig& b, const std::string& at, SpecList* list) {
  switch (b.type) {
    case BlockType::kEdgeResidual:
      AppendEdgeResidual(b, at, list);
      break;
    case BlockType::kInvertedResidual:
      AppendInvertedResidual(b, at, list);
      break;
    case BlockType::kAttention:
      AppendAttention(b, at, list);
      break;
  }
  if (b.layer_scale) list->Plain(at + "layer_scale.gamma", {b.out});
}

DepthwiseWeights BindDepthwise(const std::string& conv, const std::string& norm,
                               TensorBinder* bind) {
  return {bind->Plain(conv), bind->Plain(norm)};
}

void BindConvs(const std::string& at, TensorBinder* bind, BlockWeights* w) {
  const BlockConfig& b = w->config;
  if (b.type == BlockType::kEdgeResidual) {
    w->expand = bind->Gemm(at + "conv_exp.weight");
    w->expand_norm = bind->Plain(at + "bn1.weight");
    w->project = bind->Gemm(at + "conv_pwl.weight");
    w->project_norm = bind->Plain(at + "bn2.weight");
    return;
  }
  if (b.dw_start > 0) {
    w->dw_start = BindDepthwise(at + "dw_start.conv.weight",
                                at + "dw_start.bn.weight", bind);
  }
  w->expand = bind->Gemm(at + "pw_exp.conv.weight");
  w->expand_norm = bind->Plain(at + "pw_exp.bn.weight");
  if (b.dw_mid > 0) {
    w->dw_mid =
        BindDepthwise(at + "dw_mid.conv.weight", at + "dw_mid.bn.weight", bind);
  }
  w->project = bind->Gemm(at + "pw_proj.conv.weight");
  w->project_norm = bind->Plain(at + "pw_proj.bn.weight");
}

void BindAttention(const std::string& at, TensorBinder* bind, BlockWeights* w) {
  w->norm = bind->Plain(at + "norm.weight");
  w->query = bind->Gemm(at + "attn.query.proj.weight");
  if (w->config.kv_stride > 1) {
    w->key_down = BindDepthwise(at + "attn.key.down_conv.weight",
                                at + "attn.key.norm.weight", bind);
    w->value_down = BindDepthwise(at + "attn.value.down_conv.weight",
                                  at + "attn.value.norm.weight", bind);
  }
  w->key = bind->Gemm(at + "attn.key.proj.weight");
  w->value = bind->Gemm(at + "attn.value.proj.weight");
  w->output = bind->Gemm(at + "attn.output.proj.weight");
}

BlockWeights BindBlock(const BlockConfig& config, std::string name,
                       TensorBinder* bind) {
  BlockWeights w;
  w.config = config;
  w.name = std::move(name);
  const std::string at = absl::StrCat(kTower, w.name, ".");
  if (config.type == BlockType::kAttention) {
    BindAttention(at, bind, &w);
  } else {
    BindConvs(at, bind, &w);
  }
  if (config.layer_scale) w.gamma = bind->Plain(at + "layer_scale.gamma");
  if (bind->status().ok() && w.gamma != nullptr && w.project_norm != nullptr) {
    for (int64_t c = 0; c < config.out; ++c) {
      w.scaled_project_norm.push_back(w.project_norm[c] * w.gamma[c]);
    }
  }
  return w;
}

}  // namespace

std::vector<VisionTensorSpec> VisionTensorSpecs(const VisionConfig& config) {
  SpecList list;
  const std::string tower = kTower;
  list.Conv(tower + "conv_stem.conv.weight", config.stem_size, 3, 3);
  if (config.stem_bias) {
    list.Plain(tower + "conv_stem.conv.bias", {config.stem_size});
  }
  list.Plain(tower + "conv_stem.bn.weight", {config.stem_size});
  for (size_t stage = 0; stage < config.stages.size(); ++stage) {
    for (size_t block = 0; block < config.stages[stage].size(); ++block) {
      AppendBlock(config.stages[stage][block],
                  absl::StrCat(tower, BlockName(stage, block), "."), &list);
    }
  }
  const int64_t in = config.msfa_in(), hidden = config.hidden_size;
  list.Conv(tower + "msfa.ffn.pw_exp.conv.weight", in * kMsfaExpansion, in, 1);
  list.Plain(tower + "msfa.ffn.pw_exp.bn.weight", {in * kMsfaExpansion});
  list.Conv(tower + "msfa.ffn.pw_proj.conv.weight", hidden, in * kMsfaExpansion,
            1);
  list.Plain(tower + "msfa.ffn.pw_proj.bn.weight", {hidden});
  list.Plain(tower + "msfa.norm.weight", {hidden});

  const std::string embedder = kEmbedder;
  list.Plain(embedder + "embedding.weight", {config.vocab_size, hidden});
  list.Plain(embedder + "hard_embedding_norm.weight", {hidden});
  list.Plain(embedder + "soft_embedding_norm.weight", {hidden});
  list.Matrix(embedder + "embedding_projection.weight", config.text_hidden_size,
              hidden);
  return list.Take();
}

bool IsVisionTensor(absl::string_view name) {
  return absl::StartsWith(name, "vision_tower.") ||
         absl::StartsWith(name, kEmbedder);
}

absl::StatusOr<VisionWeights> BindVisionWeights(const VisionConfig& config,
                                                const TensorLookup& lookup) {
  TensorBinder bind(VisionTensorSpecs(config), lookup);
  const std::string tower = kTower, embedder = kEmbedder;
  VisionWeights w;
  w.config = config;
  w.conv_stem = bind.Gemm(tower + "conv_stem.conv.weight");
  if (config.stem_bias) {
    w.stem_bias = bind.Plain(tower + "conv_stem.conv.bias");
  }
  w.stem_norm = bind.Plain(tower + "conv_stem.bn.weight");
  for (size_t stage = 0; stage < config.stages.size(); ++stage) {
    w.stages.emplace_back();
    for (size_t block = 0; block < config.stages[stage].size(); ++block) {
      w.stages.back().push_back(BindBlock(config.stages[stage][block],
                                          BlockName(stage, block), &bind));
    }
  }
  w.msfa_expand = bind.Gemm(tower + "msfa.ffn.pw_exp.conv.weight");
  w.msfa_expand_norm = bind.Plain(tower + "msfa.ffn.pw_exp.bn.weight");
  w.msfa_project = bind.Gemm(tower + "msfa.ffn.pw_proj.conv.weight");
  w.msfa_project_norm = bind.Plain(tower + "msfa.ffn.pw_proj.bn.weight");
  w.msfa_norm = bind.Plain(tower + "msfa.norm.weight");
  w.hard_embedding = bind.Plain(embedder + "embedding.weight");
  w.hard_embedding_norm = bind.Plain(embedder + "hard_embedding_norm.weight");
  w.soft_embedding_norm = bind.Plain(embedder + "soft_embedding_norm.weight");
  w.embedding_projection = bind.Gemm(embedder + "embedding_projection.weight");
  if (!bind.status().ok()) return bind.status();
  return w;
}

}  // namespace lapidary::kernels::vision
