"""Vision towers in small, and the real one: what make_vision_goldens.py runs.

`CONFIGS` maps a name to (config.json as a dict, seed, [(height, width), …]). Each has a
text part just large enough to be a model. The blocks are gemma3n-vision.md §9's.
"""

TEXT = {
    "model_type": "gemma3n_text", "vocab_size": 320, "vocab_size_per_layer_input": 300, "hidden_size": 48,
    "hidden_size_per_layer_input": 8, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8, "num_kv_shared_layers": 0, "laurel_rank": 4,
    "layer_types": ["sliding_attention", "full_attention"], "activation_sparsity_pattern": [0.5, 0.0],
}


def er(out, stride, ratio=4.0):
    return {"block_type": "er", "out_chs": out, "stride": stride, "act_layer": None, "exp_kernel_size": 3,
            "pw_kernel_size": 1, "exp_ratio": ratio, "force_in_chs": 0, "se_ratio": 0.0, "noskip": False}


def uir(out, stride, start, mid, ratio):
    return {"block_type": "uir", "out_chs": out, "stride": stride, "act_layer": None, "dw_kernel_size_start": start,
            "dw_kernel_size_mid": mid, "dw_kernel_size_end": 0, "exp_ratio": ratio, "se_ratio": 0.0, "noskip": False}


def mqa(out, heads, key_dim, kv_stride, value_dim=None):
    return {"block_type": "mqa", "out_chs": out, "stride": 1, "act_layer": None, "dw_kernel_size": 3,
            "num_heads": heads, "key_dim": key_dim, "value_dim": value_dim or key_dim, "kv_stride": kv_stride,
            "noskip": False}


# Every variant of a block that the real tower has.
EVERY_BLOCK = [
    [er(16, 2), er(16, 1)],
    [uir(24, 2, 3, 5, 6.0), uir(24, 1, 5, 0, 4.0), uir(24, 1, 3, 0, 4.0)],
    [uir(32, 2, 5, 5, 6.0), uir(32, 1, 5, 0, 4.0), uir(32, 1, 0, 0, 1.0), mqa(32, 3, 8, 2), uir(32, 1, 0, 0, 2.0)],
    [uir(48, 2, 5, 5, 6.0), mqa(48, 2, 16, 1), uir(48, 1, 0, 0, 2.0)],
]

# Variants that timm allows: strides on dw_start, a mid kernel that does not stride, no skip, widths that
# change within a stage, value heads of another width, a stage less.
ODD_BLOCKS = [
    [uir(24, 2, 5, 0, 2.0), uir(24, 1, 3, 3, 3.0), er(24, 1, 2.0)],
    [er(32, 2, 3.0), mqa(32, 5, 8, 2, 24), uir(40, 1, 0, 5, 2.0), dict(uir(40, 1, 3, 0, 2.0), noskip=True)],
    [uir(48, 2, 0, 3, 2.0), dict(mqa(48, 3, 24, 1, 8), noskip=True), mqa(56, 2, 16, 2), uir(56, 1, 0, 0, 1.5)],
]


def model(architecture, hidden_size, soft_tokens, model_args):
    vision = {"model_type": "gemma3n_vision", "architecture": architecture, "hidden_size": hidden_size, "vocab_size": 16,
              "vocab_offset": 304, "rms_norm_eps": 1e-6}
    if model_args is not None:
        vision["model_args"] = model_args
    return {"architectures": ["Gemma3nForConditionalGeneration"], "model_type": "gemma3n", "text_config": TEXT,
            "vision_config": vision, "vision_soft_tokens_per_image": soft_tokens, "boi_token_id": 299,
            "eoi_token_id": 304, "image_token_id": 305, "boa_token_id": 298, "eoa_token_id": 306, "audio_token_id": 307}


BACKBONE = "mobilenetv5_300m"

CONFIGS = {
    "every_block": (model(BACKBONE, 64, 4, {
        "pad_type": "same", "stem_bias": True, "stem_size": 8, "fix_stem": True, "num_features": 64,
        "msfa_output_resolution": 2, "layer_scale_init_value": 1e-5, "block_args": EVERY_BLOCK,
    }), 11, [(96, 96), (64, 64), (32, 32), (96, 64), (128, 96), (80, 80), (100, 76)]),
    "odd_blocks": (model(BACKBONE, 40, 9, {
        "stem_bias": False, "stem_size": 12, "num_features": 40, "msfa_output_resolution": 3,
        "msfa_indices": [1, -1, 2], "layer_scale_init_value": None, "block_args": ODD_BLOCKS,
    }), 12, [(96, 96), (61, 83)]),
    "narrow": (model(BACKBONE, 64, 16, {
        "pad_type": "same", "stem_bias": True, "stem_size": 16, "channel_multiplier": 0.0625, "num_features": 64,
        "msfa_output_resolution": 4,
    }), 13, [(192, 192), (128, 160)]),
    "published": (model("mobilenetv5_300m_enc", 2048, 256, None), 14, [(256, 256), (768, 768)]),
}
