"""Writes tests/goldens/text/spec/: the tiny golden of gemma3n-text.md §11, run through Hugging Face.

    python tests/reference/make_spec_goldens.py

Its weights are numbered, not named: tensor n is the n-th in the order of
`tensor_order` and its amplitudes are its own (0.125 for matrices), so that the
golden needs nothing but the two pages that describe it. The numbering counts the
k_proj, v_proj and k_norm of KV-shared layers although nobody reads them.
Besides the logits the golden holds the AltUp streams after some layers, which
tell a reader of a failing test where the fault lies.
"""

import json

import torch
from safetensors.torch import save_file

import hf_reference as hf
from make_text_goldens import GOLDENS
from synth_weights import counter_values, fill_model, stripped

CONFIG = {
    "architectures": ["Gemma3nForCausalLM"], "model_type": "gemma3n_text", "hidden_size": 64,
    "hidden_size_per_layer_input": 8, "num_hidden_layers": 10, "intermediate_size": [256] * 10,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 1024, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 4,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 2, "num_kv_shared_layers": 5,
    "activation_sparsity_pattern": [0.95] * 3 + [0.0] * 7, "final_logit_softcapping": 30.0,
    "altup_num_inputs": 4, "altup_active_idx": 0, "altup_coef_clip": 120.0, "altup_correct_scale": True,
    "laurel_rank": 4, "vocab_size": 320, "vocab_size_per_layer_input": 300, "tie_word_embeddings": True,
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}
IDS = [2, 17, 255, 203, 31, 299, 5, 88, 88, 201, 64, 7, 150, 33]
STREAM_LAYERS = (0, 3, 4, 5, 9)

GLOBAL_ORDER = [
    "embed_tokens.weight", "embed_tokens_per_layer.weight", "per_layer_model_projection.weight",
    "per_layer_projection_norm.weight",
    *[f"altup_projections.{i}.weight" for i in range(3)],
    *[f"altup_unembed_projections.{i}.weight" for i in range(3)],
    "norm.weight",
]
LAYER_ORDER = [
    "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight",
    "self_attn.o_proj.weight", "self_attn.q_norm.weight", "self_attn.k_norm.weight",
    "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight", "input_layernorm.weight",
    "post_attention_layernorm.weight", "pre_feedforward_layernorm.weight",
    "post_feedforward_layernorm.weight", "per_layer_input_gate.weight", "per_layer_projection.weight",
    "post_per_layer_input_norm.weight", "altup.correct_output_scale", "altup.correction_coefs.weight",
    "altup.prediction_coefs.weight", "altup.modality_router.weight", "altup.router_norm.weight",
    "laurel.linear_left.weight", "laurel.linear_right.weight", "laurel.post_laurel_norm.weight",
]


def tensor_order():
    """All names; a tensor's number is its index here."""
    layers = range(CONFIG["num_hidden_layers"])
    return GLOBAL_ORDER + [f"layers.{layer}.{name}" for layer in layers for name in LAYER_ORDER]


def amplitude_and_offset(name):
    if "norm" in name or name.endswith("correct_output_scale"):
        return 0.5, 1.0
    if "modality_router" in name:
        return 4.0, 0.0
    if "_coefs" in name:
        return 0.25, 0.0
    return 0.125, 0.0


def numbered_state(model):
    """Weights for the tensors that `model` has, by their numbers in `tensor_order`."""
    number = {name: n for n, name in enumerate(tensor_order())}
    state = {}
    for full_name, tensor in model.state_dict().items():
        name = stripped(full_name)
        if full_name.startswith("lm_head"):
            continue
        values = counter_values(number[name], tensor.numel(), *amplitude_and_offset(name))
        state[name] = torch.from_numpy(values).reshape(tensor.shape)
    return state


@torch.no_grad()
def run(dtype):
    """(logits [T][V], streams of the last position per recorded moment, survivor share) in `dtype`."""
    model = hf.empty_model(CONFIG, dtype)
    fill_model(model, numbered_state(model))
    streams, survivors = {}, []

    def record(moment):
        def hook(module, args, output):
            streams[moment] = output[:, 0, -1, :].double()
        return hook

    def record_input(module, args):
        streams["init"] = args[0][:, 0, -1, :].double()

    layers = model.model.layers
    layers[0].register_forward_pre_hook(record_input)
    for layer in STREAM_LAYERS:
        layers[layer].register_forward_hook(record(f"layer {layer}"))
    for layer in layers[:3]:
        layer.mlp.down_proj.register_forward_pre_hook(
            lambda module, args: survivors.append((args[0] != 0).double().mean().item()))
    with hf.islands(dtype):
        logits = model(torch.tensor([IDS]), use_cache=True).logits[0].double()
    return logits, streams, sum(survivors) / len(survivors)


def main():
    exact, streams, survivors = run(torch.float64)
    narrow, _, _ = run(torch.float32)
    logprobs = torch.log_softmax(exact, dim=-1)
    golden = {
        "weights": "numbered (gemma3n-text.md §11)",
        "weight_dtype": "float32",
        "float32_noise": (torch.log_softmax(narrow, dim=-1) - logprobs).abs().max().item(),
        "float32_noise_logits": (narrow - exact).abs().max().item(),
        "versions": hf.versions(),
        "prompts": [{"ids": IDS}],
        "argmax": exact.argmax(dim=-1).tolist(),
        "logits_sum": exact.sum().item(),
        "logits_sum_of_squares": exact.square().sum().item(),
        "survivor_share": survivors,
        "first_logits": {str(t): exact[t, :6].tolist() for t in (0, 5, 13)},
        "streams_of_last_position": {
            moment: {"rms": s.square().mean(dim=-1).sqrt().tolist(), "first": s[:, 0].tolist()}
            for moment, s in streams.items()
        },
    }
    folder = GOLDENS / "spec"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    save_file({"prompt0": logprobs.float().contiguous(), "logits0": exact.float().contiguous()},
              folder / "logprobs.safetensors")
    print("spec", golden["argmax"], golden["logits_sum"], golden["logits_sum_of_squares"])


if __name__ == "__main__":
    main()
