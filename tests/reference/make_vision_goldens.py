"""Writes tests/goldens/vision: what timm's tower and Hugging Face's embedder make of random weights and pixels.

    python tests/reference/make_vision_goldens.py [NAME ...]

Weights are the synth rule's (synth_weights.py), in bfloat16, widened, and those of deploy/models/nano; pixels are its values too, of the tensor number
fnv1a32("image"), 0.5 ± 0.5, in the order height, width, channel. Runs in float64 and, to tell noise from error, in float32.
"""

import copy
import json
import math
import pathlib
import sys

import timm
import torch
from safetensors.torch import load_file, save_file
from transformers.models.gemma3n.configuration_gemma3n import Gemma3nTextConfig, Gemma3nVisionConfig
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nMultimodalEmbedder

import hf_reference as hf
from synth_weights import counter_values, fnv1a32, vision_tensor
from vision_configs import CONFIGS

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens" / "vision"
TOWER, EMBEDDER = "vision_tower.timm_model.", "embed_vision."
# Of larger results every so many-th value is kept.
KEPT = 4096
EMBEDDER_FIELDS = ("architecture", "hidden_size", "vocab_size", "vocab_offset", "rms_norm_eps")
NANO = pathlib.Path(__file__).parent.parent.parent / "deploy" / "models" / "nano"


def weights_of(seed):
    """Weight by name and shape: the rule's, or those of nano where there is no seed."""
    if seed is not None:
        return lambda name, shape: vision_tensor(name, shape, seed, torch.bfloat16)
    stored = load_file(NANO / "model.safetensors")
    return lambda name, shape: stored["model." + name]


def build(config, seed, dtype):
    """(tower, embedder) with their weights."""
    weight = weights_of(seed)
    vision = copy.deepcopy(config["vision_config"])
    tower = timm.create_model(vision["architecture"], pretrained=False, num_classes=0, **vision.get("model_args", {}))
    embedder = Gemma3nMultimodalEmbedder(
        Gemma3nVisionConfig(**{k: vision[k] for k in EMBEDDER_FIELDS}), Gemma3nTextConfig(**config["text_config"]))
    for prefix, module in ((TOWER, tower), (EMBEDDER, embedder)):
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                if "post_projection" in name:  # a buffer of ones
                    continue
                tensor.copy_(weight(prefix + name, tuple(tensor.shape)))
        module.to(dtype).eval()
    return tower, embedder


def pixels(height, width, dtype):
    values = counter_values(fnv1a32("image"), height * width * 3, 0.5, 0.5)
    return torch.from_numpy(values).reshape(1, height, width, 3).permute(0, 3, 1, 2).contiguous().to(dtype)


def block_outputs(tower):
    """Name → RMS and first value of what each block makes, filled by a forward pass."""
    seen = {}

    def watch(name, module):
        def hook(_, __, output):
            seen[name] = [output.double().square().mean().sqrt().item(), output[0, 0, 0, 0].item()]
        module.register_forward_hook(hook)

    watch("conv_stem", tower.conv_stem)
    for s, stage in enumerate(tower.blocks):
        for b, block in enumerate(stage):
            watch(f"blocks.{s}.{b}", block)
    watch("msfa.ffn", tower.msfa.ffn)
    watch("msfa", tower.msfa)
    return seen


@torch.no_grad()
def run(tower, embedder, height, width):
    """(features, soft tokens), each [tokens][width] in the model's dtype."""
    dtype = next(tower.parameters()).dtype
    with hf.islands(dtype):
        features = tower.forward_features(pixels(height, width, dtype))
        rows = features[0].flatten(1).T.contiguous()
        soft = embedder(inputs_embeds=(rows * math.sqrt(rows.shape[1]))[None])[0]
    return rows, soft


@torch.no_grad()
def hard_tokens(embedder, dtype, config):
    """Embeddings of the first two hard tokens."""
    offset = config["vision_config"]["vocab_offset"]
    with hf.islands(dtype):
        return embedder(input_ids=torch.tensor([[offset, offset + 1]]))[0]


def thinned(values):
    """Every n-th of the values, flat, at most KEPT."""
    flat = values.flatten()
    return flat[:: max(1, math.ceil(len(flat) / KEPT))].float().contiguous()


def main():
    nano = json.loads((NANO / "config.json").read_text())
    for name, (config, seed, sizes) in (CONFIGS | {"nano": (nano, None, [(256, 256)])}).items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        tower, embedder = build(config, seed, torch.float64)
        near_tower, near_embedder = build(config, seed, torch.float32)
        seen = block_outputs(tower)
        cases, tensors = [], {}
        for height, width in sizes:
            features, soft = run(tower, embedder, height, width)
            near = run(near_tower, near_embedder, height, width)
            key = f"{height}x{width}"
            tensors |= {f"{key}.features": thinned(features), f"{key}.soft_tokens": thinned(soft)}
            cases.append({
                "height": height, "width": width, "features": list(features.shape), "soft_tokens": list(soft.shape),
                "rms": [t.square().mean().sqrt().item() for t in (features, soft)],
                "float32_noise": [(a - b).abs().max().item() for a, b in zip((features, soft), near)],
                "blocks": dict(seen),
            })
            print(name, key, cases[-1]["rms"], cases[-1]["float32_noise"], flush=True)
        tensors["hard_tokens"] = hard_tokens(embedder, torch.float64, config).float().contiguous()
        folder = GOLDENS / name
        folder.mkdir(parents=True, exist_ok=True)
        if seed is not None:
            (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        golden = {"seed": seed, "versions": hf.versions() | {"timm": timm.__version__}, "cases": cases}
        (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
        save_file(tensors, folder / "values.safetensors")


if __name__ == "__main__":
    main()
