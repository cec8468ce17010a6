"""Gemma 3n text weights from a counter hash: no weights to commit, none to download.

Every element is a function of (tensor name, seed, element index) alone, so any
program in any language writes the same bits (`lapidary synth` does). The rule,
with u32 arithmetic mod 2^32 and NAME without its `model.` or
`model.language_model.` prefix:

    n = fnv1a32(NAME) ^ seed
    x = e + 1 + 0x9E3779B9 * (n + 1)         e: row-major element, from 0
    x ^= x >> 16;  x *= 0x7FEB352D;  x ^= x >> 15;  x *= 0x846CA68B;  x ^= x >> 16
    value = float32((x / 2^32 - 0.5) * 2 * amp + off)     in float64, rounded once

and then, for bfloat16 folders, rounded to nearest even. `amplitude_and_offset`
holds amp and off; they are chosen so that a random model is lively: logits with
a standard deviation near 3, attention neither flat nor one-hot.

Command line:  python synth_weights.py CONFIG_JSON OUT_DIR --seed 1 --dtype bfloat16
writes OUT_DIR/config.json and OUT_DIR/model.safetensors.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
PREFIXES = ("model.language_model.", "model.")


def fnv1a32(name):
    """The 32-bit FNV-1a hash of a tensor's name."""
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    return h


def counter_values(n, count, amp, off):
    """`count` float32 values of the stream numbered `n`, in off ± amp."""
    start = (1 + 0x9E3779B9 * (n + 1)) & 0xFFFFFFFF
    x = np.arange(count, dtype=np.uint32) + np.uint32(start)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    unit = x.astype(np.float64) / 4294967296.0 - 0.5
    return (unit * 2.0 * amp + off).astype(np.float32)


def amplitude_and_offset(name, shape, text_config):
    """(amp, off) of a tensor, by the last parts of its name."""
    hidden = text_config["hidden_size"]
    module = name.removesuffix(".weight").rsplit(".", 1)[-1]
    if module in ("q_norm", "k_norm"):
        off = 1.4 * math.pow(text_config["head_dim"], -0.25)
        return off * 0.5, off
    if "norm" in module or module == "correct_output_scale":
        return 0.5, 1.0
    if module == "modality_router":
        return 0.5 * math.sqrt(hidden), 0.0
    if module in ("prediction_coefs", "correction_coefs"):
        return 0.25, 0.0
    if module == "embed_tokens":
        return 3.0 * math.sqrt(3.0) / math.sqrt(hidden), 0.0
    if module == "embed_tokens_per_layer":
        per_layer = text_config["hidden_size_per_layer_input"]
        return math.sqrt(3.0) / math.sqrt(per_layer), 0.0
    return math.sqrt(3.0) / math.sqrt(shape[1]), 0.0


def vision_amplitude_and_offset(name, shape):
    """(amp, off) of a vision tower's or its embedder's tensor."""
    if name.endswith(".gamma"):
        return 0.2, 0.5
    if name.endswith(".bias"):
        return 0.2 * math.sqrt(3.0), 0.0
    if name == "embed_vision.embedding.weight":
        return math.sqrt(3.0), 0.0
    if len(shape) == 1:
        return 0.5, 1.0
    return math.sqrt(3.0) / math.sqrt(math.prod(shape[1:])), 0.0


def vision_tensor(name, shape, seed, dtype):
    """One tensor of a tower or its embedder by its name without `model.`, in its stored dtype."""
    amp, off = vision_amplitude_and_offset(name, shape)
    values = counter_values(fnv1a32(name) ^ seed, math.prod(shape), amp, off)
    return torch.from_numpy(values).reshape(shape).to(dtype)


def audio_tensor(name, shape, seed, dtype):
    """One tensor of an audio tower or its embedder by its name without `model.`, in its stored dtype."""
    if name.endswith("per_dim_scale"):
        amp, off = 0.5, 0.0
    elif name == "embed_audio.embedding.weight":
        amp, off = math.sqrt(3.0), 0.0
    elif len(shape) == 1:
        amp, off = 0.5, 1.0
    else:
        amp, off = math.sqrt(3.0) / math.sqrt(math.prod(shape[1:])), 0.0
    values = counter_values(fnv1a32(name) ^ seed, math.prod(shape), amp, off)
    return torch.from_numpy(values).reshape(shape).to(dtype)


def synth_tensor(name, shape, text_config, seed, dtype):
    """One tensor by its stripped name, in its stored dtype."""
    amp, off = amplitude_and_offset(name, shape, text_config)
    values = counter_values(fnv1a32(name) ^ seed, math.prod(shape), amp, off)
    return torch.from_numpy(values).reshape(shape).to(dtype)


def tensor_shapes(text_config):
    """Stripped name → shape, for all tensors of a text model.

    The head is tied to embed_tokens and not stored. Layers of the KV-shared tail
    have no k_proj, v_proj and k_norm, as in the newest Hugging Face.
    """
    c = text_config
    hidden, layers = c["hidden_size"], c["num_hidden_layers"]
    per_layer, streams = c["hidden_size_per_layer_input"], c["altup_num_inputs"]
    q_rows = c["num_attention_heads"] * c["head_dim"]
    kv_rows = c["num_key_value_heads"] * c["head_dim"]
    widths = c["intermediate_size"]
    if isinstance(widths, int):
        widths = [widths] * layers
    shapes = {
        "embed_tokens.weight": (c["vocab_size"], hidden),
        "embed_tokens_per_layer.weight": (c["vocab_size_per_layer_input"], layers * per_layer),
        "per_layer_model_projection.weight": (layers * per_layer, hidden),
        "per_layer_projection_norm.weight": (per_layer,),
        "norm.weight": (hidden,),
    }
    for i in range(streams - 1):
        shapes[f"altup_projections.{i}.weight"] = (hidden, hidden)
        shapes[f"altup_unembed_projections.{i}.weight"] = (hidden, hidden)
    for layer in range(layers):
        own = {
            "self_attn.q_proj.weight": (q_rows, hidden),
            "self_attn.o_proj.weight": (hidden, q_rows),
            "self_attn.q_norm.weight": (c["head_dim"],),
            "mlp.gate_proj.weight": (widths[layer], hidden),
            "mlp.up_proj.weight": (widths[layer], hidden),
            "mlp.down_proj.weight": (hidden, widths[layer]),
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
            "pre_feedforward_layernorm.weight": (hidden,),
            "post_feedforward_layernorm.weight": (hidden,),
            "per_layer_input_gate.weight": (per_layer, hidden),
            "per_layer_projection.weight": (hidden, per_layer),
            "post_per_layer_input_norm.weight": (hidden,),
            "altup.correct_output_scale": (hidden,),
            "altup.correction_coefs.weight": (streams, streams),
            "altup.prediction_coefs.weight": (streams * streams, streams),
            "altup.modality_router.weight": (streams, hidden),
            "altup.router_norm.weight": (hidden,),
            "laurel.linear_left.weight": (c["laurel_rank"], hidden),
            "laurel.linear_right.weight": (hidden, c["laurel_rank"]),
            "laurel.post_laurel_norm.weight": (hidden,),
        }
        if layer < layers - c["num_kv_shared_layers"]:
            own["self_attn.k_proj.weight"] = (kv_rows, hidden)
            own["self_attn.v_proj.weight"] = (kv_rows, hidden)
            own["self_attn.k_norm.weight"] = (c["head_dim"],)
        shapes.update({f"layers.{layer}.{k}": v for k, v in own.items()})
    return shapes


def synth_state(text_config, seed, dtype):
    """Stripped name → tensor, for all tensors of a text model."""
    return {
        name: synth_tensor(name, shape, text_config, seed, dtype)
        for name, shape in tensor_shapes(text_config).items()
    }


def stripped(name):
    """A checkpoint's tensor name without its prefix."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix):]
    return name


def fill_model(model, state):
    """Copies `state` into a Hugging Face text model; names and shapes must agree exactly."""
    own = {stripped(k): v for k, v in model.state_dict().items() if not k.startswith("lm_head")}
    if own.keys() != state.keys():
        raise ValueError(f"tensor names differ: {sorted(own.keys() ^ state.keys())}")
    with torch.no_grad():
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(f"{name}: model {tuple(tensor.shape)}, rule {tuple(state[name].shape)}")
            tensor.copy_(state[name])


def write_folder(config, out_dir, seed, dtype):
    """Writes a Hugging Face folder: config.json and model.safetensors."""
    nested = "text_config" in config
    text_config = config["text_config"] if nested else config
    prefix = PREFIXES[0] if nested else PREFIXES[1]
    state = synth_state(text_config, seed, dtype)
    out = pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({prefix + k: v for k, v in state.items()}, out / "model.safetensors", metadata={"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("config", help="config.json: text-only, or with a text_config")
    parser.add_argument("out_dir")
    parser.add_argument("--seed", type=int, default=1, help="u32; default 1")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    args = parser.parse_args()
    config = json.loads(pathlib.Path(args.config).read_text())
    write_folder(config, args.out_dir, args.seed, DTYPES[args.dtype])


if __name__ == "__main__":
    main()
