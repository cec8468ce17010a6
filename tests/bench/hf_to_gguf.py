#!/usr/bin/env python3
"""Writes a Gemma 3n folder of bf16 safetensors as a GGUF for llama.cpp.

    hf_to_gguf.py HF_DIR OUT.gguf

Text only, and with a vocabulary of made-up pieces: llama.cpp's server wants one,
and its clients here send ids. Python's standard library only: matrices are
copied byte for byte, since both formats keep them row by row; norms and small
coefficients become f32, as llama.cpp's own converter leaves them. What layers
with shared keys and values do not have in the folder is written as zeros:
llama.cpp wants it there and never reads it.

Names and keys are those of convert_hf_to_gguf.py (conversion/gemma.py and
gguf-py/gguf/constants.py) in llama-cpp-python 0.3.36.
"""

import array
import json
import pathlib
import statistics
import struct
import sys

F32, BF16 = 0, 30  # ggml types
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # GGUF value types
MOSTLY_BF16 = 32  # general.file_type
ALIGNMENT = 32
CHUNK = 1 << 24

LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
    "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm",
    "altup.correction_coefs": "altup_correct_coef",
    "altup.prediction_coefs": "altup_predict_coef",
    "altup.modality_router": "altup_router",
    "altup.router_norm": "altup_router_norm",
    "laurel.linear_left": "laurel_l",
    "laurel.linear_right": "laurel_r",
    "laurel.post_laurel_norm": "laurel_post_norm",
}
GLOBAL_TENSORS = {
    "norm": "output_norm",
    "embed_tokens": "token_embd",
    "embed_tokens_per_layer": "per_layer_token_embd",
    "per_layer_model_projection": "per_layer_model_proj",
    "per_layer_projection_norm": "per_layer_proj_norm",
}
ALWAYS_F32 = ("altup_correct_coef", "altup_predict_coef", "altup_correct_scale")


class Checkpoint:
    """Finds tensors in the folder's safetensors files."""

    def __init__(self, folder):
        self.tensors = {}
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                if entry["dtype"] != "BF16":
                    sys.exit(f"{name}: {entry['dtype']}, BF16 is wanted")
                begin, end = entry["data_offsets"]
                self.tensors[name.removeprefix("model.language_model.")] = (
                    path, 8 + size + begin, end - begin, entry["shape"])

    def shape(self, name):
        return self.tensors[name][3]

    def chunks(self, name):
        path, at, left, _ = self.tensors[name]
        with path.open("rb") as file:
            file.seek(at)
            while left > 0:
                data = file.read(min(CHUNK, left))
                left -= len(data)
                yield data


def to_f32(bf16):
    """Bytes of bf16 numbers as bytes of the same numbers in f32."""
    halves = array.array("H", bf16)
    return array.array("I", (half << 16 for half in halves)).tobytes()


class Tensor:
    """One tensor of the GGUF: parts of the checkpoint, then zeros."""

    def __init__(self, checkpoint, name, parts, shape):
        self.name, self.parts, self.shape = name, parts, shape
        self.checkpoint = checkpoint
        small = len(shape) == 1 or any(word in name for word in ALWAYS_F32)
        self.type = F32 if small else BF16
        elements = 1
        for size in shape:
            elements *= size
        self.bytes = elements * (4 if small else 2)

    def write(self, out):
        written = 0
        for part in self.parts:
            for data in self.checkpoint.chunks(part):
                data = to_f32(data) if self.type == F32 else data
                out.write(data)
                written += len(data)
        while written < self.bytes:
            zeros = bytes(min(CHUNK, self.bytes - written))
            out.write(zeros)
            written += len(zeros)


def list_tensors(checkpoint, config):
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    kv_width = config["num_key_value_heads"] * config["head_dim"]
    absent = {
        "self_attn.k_proj": [kv_width, hidden],
        "self_attn.v_proj": [kv_width, hidden],
        "self_attn.k_norm": [config["head_dim"]],
    }
    tensors = []

    def add(name, parts, shape):
        tensors.append(Tensor(checkpoint, name, parts, shape))

    for source, target in GLOBAL_TENSORS.items():
        name = f"{source}.weight"
        shape = list(checkpoint.shape(name))
        if source.startswith("embed"):
            shape[0] = vocabulary  # ids of pictures and sounds: rows of zeros
        add(f"{target}.weight", [name], shape)
    for source, target in (("altup_projections", "altup_proj"),
                           ("altup_unembed_projections", "altup_unembd_proj")):
        parts = [f"{source}.{i}.weight"
                 for i in range(config["altup_num_inputs"] - 1)]
        add(f"{target}.weight", parts, [len(parts), hidden, hidden])
    for layer in range(config["num_hidden_layers"]):
        for source, target in LAYER_TENSORS.items():
            name = f"layers.{layer}.{source}.weight"
            there = name in checkpoint.tensors
            add(f"blk.{layer}.{target}.weight", [name] if there else [],
                checkpoint.shape(name) if there else absent[source])
        add(f"blk.{layer}.altup_correct_scale.weight",
            [f"layers.{layer}.altup.correct_output_scale"], [hidden])
    return tensors


def list_vocabulary(size):
    """Control tokens and bytes where Gemma has some, then a word for each id."""
    normal, unknown, control, byte = 1, 2, 3, 6  # llama_token_type
    pieces = [("<pad>", control), ("</s>", control), ("<s>", control),
              ("<unk>", unknown)]
    pieces += [(f"<0x{value:02X}>", byte) for value in range(256)]
    pieces += [(f"\u2581{i}", normal) for i in range(len(pieces), size)]
    t = "tokenizer.ggml."
    return [
        (t + "model", STRING, "llama"),
        (t + "tokens", (ARRAY, STRING), [text for text, _ in pieces]),
        (t + "scores", (ARRAY, FLOAT), [-float(i) for i in range(size)]),
        (t + "token_type", (ARRAY, I32), [kind for _, kind in pieces]),
        (t + "padding_token_id", U32, 0),
        (t + "eos_token_id", U32, 1),
        (t + "bos_token_id", U32, 2),
        (t + "unknown_token_id", U32, 3),
    ]


def list_keys(config):
    sparsity = [
        statistics.NormalDist().inv_cdf(p) if p > 0 else float("-inf")
        for p in config["activation_sparsity_pattern"]
    ]
    widths = config["intermediate_size"]
    sliding = [kind == "sliding_attention" for kind in config["layer_types"]]
    a = "gemma3n."
    return [
        ("general.architecture", STRING, "gemma3n"),
        ("general.alignment", U32, ALIGNMENT),
        ("general.file_type", U32, MOSTLY_BF16),
        (a + "vocab_size", U32, config["vocab_size"]),
        (a + "context_length", U32, config["max_position_embeddings"]),
        (a + "embedding_length", U32, config["hidden_size"]),
        (a + "block_count", U32, config["num_hidden_layers"]),
        (a + "feed_forward_length", (ARRAY, U32), widths),
        (a + "attention.head_count", U32, config["num_attention_heads"]),
        (a + "attention.head_count_kv", U32, config["num_key_value_heads"]),
        (a + "attention.key_length", U32, config["head_dim"]),
        (a + "attention.value_length", U32, config["head_dim"]),
        (a + "attention.layer_norm_rms_epsilon", FLOAT, config["rms_norm_eps"]),
        (a + "attention.sliding_window", U32, config["sliding_window"]),
        (a + "attention.sliding_window_pattern", (ARRAY, BOOL), sliding),
        (a + "attention.shared_kv_layers", U32,
         config["num_kv_shared_layers"]),
        (a + "rope.freq_base", FLOAT, config["rope_theta"]),
        (a + "rope.freq_base_swa", FLOAT, config["rope_local_base_freq"]),
        (a + "final_logit_softcapping", FLOAT,
         config["final_logit_softcapping"]),
        (a + "altup.active_idx", U32, config["altup_active_idx"]),
        (a + "altup.num_inputs", U32, config["altup_num_inputs"]),
        (a + "embedding_length_per_layer_input", U32,
         config["hidden_size_per_layer_input"]),
        (a + "activation_sparsity_scale", (ARRAY, FLOAT), sparsity),
    ] + list_vocabulary(config["vocab_size"])


def pack_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def pack_value(kind, value):
    if isinstance(kind, tuple):
        item = kind[1]
        return (struct.pack("<IQ", item, len(value)) +
                b"".join(pack_value(item, one) for one in value))
    if kind == STRING:
        return pack_string(value)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], value)


def pad(size):
    return -size % ALIGNMENT


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    keys = list_keys(config)
    tensors = list_tensors(Checkpoint(folder), config)
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    for name, kind, value in keys:
        outer = kind[0] if isinstance(kind, tuple) else kind
        header += (pack_string(name) + struct.pack("<I", outer) +
                   pack_value(kind, value))
    at = 0
    for tensor in tensors:
        sizes = list(reversed(tensor.shape))  # innermost first
        header += (pack_string(tensor.name) + struct.pack("<I", len(sizes)) +
                   struct.pack(f"<{len(sizes)}Q", *sizes) +
                   struct.pack("<IQ", tensor.type, at))
        at += tensor.bytes + pad(tensor.bytes)
    unfinished = target.with_suffix(".unfinished")
    with unfinished.open("wb") as out:
        out.write(header + bytes(pad(len(header))))
        for tensor in tensors:
            tensor.write(out)
            out.write(bytes(pad(tensor.bytes)))
    unfinished.rename(target)


if __name__ == "__main__":
    main()
