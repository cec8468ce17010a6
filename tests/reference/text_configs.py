"""Tiny text configurations that vary every field of the architecture between them.

`CONFIGS` maps a name to (config.json as a dict, seed, stored weight dtype). Fields
left out of a dict are left to Hugging Face's defaults on purpose: a reader must
know them too. No config has head_dim = hidden_size / num_attention_heads.

What Hugging Face 5.24 does with the fields that are rarely varied (read in its code):
  altup_correct_scale      honoured: false leaves the PLE gate's input unscaled
  altup_active_idx         honoured in predict and correct (which stream feeds the layer, is
                           corrected, and drives the PLE gate). NOT in three places that are
                           hard-wired to stream 0: stream 0 is the plain embedding, magnitudes
                           are matched to stream 0, and the PLE result is added to streams
                           1..n-1 whichever is active
  altup_coef_clip          only while training
  altup_num_inputs         any number >= 1
  final_logit_softcapping  null is refused by the config class, honoured by the model
  activation_sparsity_pattern  null = 0.95 in the first 10 layers if there are more than 10
                           layers, else none; a list of floats of full length otherwise
  rope_theta, rope_local_base_freq / rope_parameters   both styles honoured
  tie_word_embeddings      always true here: Gemma 3n has no untied head
"""

SLIDING, FULL = "sliding_attention", "full_attention"


def _types(letters):
    return [{"S": SLIDING, "F": FULL}[letter] for letter in letters]


def _rope(full, sliding):
    return {
        FULL: {"rope_type": "default", "rope_theta": full},
        SLIDING: {"rope_type": "default", "rope_theta": sliding},
    }


def _text(**fields):
    base = {
        "architectures": ["Gemma3nForCausalLM"],
        "model_type": "gemma3n_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    return {**base, **fields}


CONFIGS = {
    # The published shape in small: pattern SSSSF, half the layers share K/V, old rope keys,
    # scalar FFN width, layer_types left to the default rule.
    "published_shape": (_text(
        hidden_size=64, hidden_size_per_layer_input=8, num_hidden_layers=10, intermediate_size=256,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, sliding_window=8,
        num_kv_shared_layers=5, activation_sparsity_pattern=[0.95] * 3 + [0.0] * 7, laurel_rank=4,
        altup_num_inputs=4, altup_active_idx=0, altup_correct_scale=True, altup_coef_clip=120.0,
        final_logit_softcapping=30.0, rope_theta=1000000.0, rope_local_base_freq=10000.0,
        rope_scaling=None, rms_norm_eps=1e-6, vocab_size=320, vocab_size_per_layer_input=300,
    ), 1, "bfloat16"),
    # Multi-head attention, nothing shared, three streams, no softcap, unequal FFN widths.
    "mha_no_sharing": (_text(
        hidden_size=96, hidden_size_per_layer_input=12, num_hidden_layers=11,
        intermediate_size=[192, 100, 256, 77, 128, 128, 90, 160, 33, 256, 64], num_attention_heads=4, num_key_value_heads=4,
        head_dim=16, sliding_window=4, layer_types=_types("SFSSFSSSFFS"), num_kv_shared_layers=0,
        activation_sparsity_pattern=[0.5, 0.0, 0.8, 0.0, 0.95, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0], laurel_rank=6, altup_num_inputs=3,
        final_logit_softcapping=None, rope_theta=50000.0, rope_local_base_freq=300.0,
        rms_norm_eps=1e-6, vocab_size=256, vocab_size_per_layer_input=256,
    ), 22, "bfloat16"),
    # One K/V head for six query heads, narrow heads, rope_parameters with unusual thetas.
    "mqa_rope_parameters": (_text(
        hidden_size=96, hidden_size_per_layer_input=16, num_hidden_layers=8, intermediate_size=[224] * 8,
        num_attention_heads=6, num_key_value_heads=1, head_dim=8, sliding_window=16,
        layer_types=_types("SSFSSFSF"), num_kv_shared_layers=2,
        activation_sparsity_pattern=[0.8] * 4 + [0.0] * 4, laurel_rank=8, altup_num_inputs=4,
        final_logit_softcapping=30.0, rope_parameters=_rope(300000.0, 777.0), rms_norm_eps=1e-6,
        vocab_size=384, vocab_size_per_layer_input=320,
    ), 27, "bfloat16"),
    # Three query heads per K/V head, a width that is no multiple of 16, six shared layers of twelve.
    "gqa3_odd_width": (_text(
        hidden_size=72, hidden_size_per_layer_input=20, num_hidden_layers=12,
        intermediate_size=[144, 150, 96, 200, 160, 33, 144, 150, 96, 200, 160, 48],
        num_attention_heads=6, num_key_value_heads=2, head_dim=16, sliding_window=7,
        layer_types=_types("SSSFSFSSFSFF"), num_kv_shared_layers=6,
        activation_sparsity_pattern=[0.95, 0.9, 0.8, 0.5, 0.25] + [0.0] * 7, laurel_rank=5,
        altup_num_inputs=4, final_logit_softcapping=30.0, rope_parameters=_rope(20000.0, 1000.0),
        rms_norm_eps=1e-5, vocab_size=300, vocab_size_per_layer_input=290,
    ), 1, "bfloat16"),
    # Two streams.
    "two_streams": (_text(
        hidden_size=80, hidden_size_per_layer_input=8, num_hidden_layers=10, intermediate_size=160,
        num_attention_heads=5, num_key_value_heads=5, head_dim=32, sliding_window=5,
        layer_types=_types("SFSFSFSFSF"), num_kv_shared_layers=3,
        activation_sparsity_pattern=[0.95, 0.95, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0], laurel_rank=10, altup_num_inputs=2,
        final_logit_softcapping=10.0, rope_theta=10000.0, rope_local_base_freq=10000.0,
        rms_norm_eps=1e-6, vocab_size=320, vocab_size_per_layer_input=310,
    ), 11, "bfloat16"),
    # Stream 1 is the active one, and its gate input is not scaled.
    "active_stream_1_unscaled": (_text(
        hidden_size=64, hidden_size_per_layer_input=16, num_hidden_layers=9, intermediate_size=192,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=6,
        layer_types=_types("SSFSSFSSF"), num_kv_shared_layers=3,
        activation_sparsity_pattern=[0.95] * 2 + [0.0] * 7, laurel_rank=4, altup_num_inputs=4,
        altup_active_idx=1, altup_correct_scale=False, final_logit_softcapping=30.0,
        rope_parameters=_rope(1000000.0, 10000.0), rms_norm_eps=1e-6, vocab_size=320,
        vocab_size_per_layer_input=300,
    ), 19, "bfloat16"),
    # The last of three streams is active; float32 weights; every layer sparse.
    "active_stream_2_float32": (_text(
        hidden_size=64, hidden_size_per_layer_input=8, num_hidden_layers=12, intermediate_size=256,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=9,
        layer_types=_types("FSSFSSFSSFSS"), num_kv_shared_layers=4,
        activation_sparsity_pattern=[0.95, 0.8, 0.5] * 4, laurel_rank=3, altup_num_inputs=3,
        altup_active_idx=2, altup_correct_scale=True, final_logit_softcapping=10.0,
        rope_theta=123456.0, rope_local_base_freq=99.0, rms_norm_eps=1e-3, vocab_size=288,
        vocab_size_per_layer_input=257,
    ), 12, "float32"),
    # Sliding layers only.
    "all_sliding": (_text(
        hidden_size=128, hidden_size_per_layer_input=32, num_hidden_layers=10, intermediate_size=320,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, sliding_window=12,
        layer_types=_types("SSSSSSSSSS"), num_kv_shared_layers=3, activation_sparsity_pattern=[0.0] * 10,
        laurel_rank=16, altup_num_inputs=4, altup_correct_scale=False, final_logit_softcapping=30.0,
        rope_parameters=_rope(1000000.0, 5000.0), rms_norm_eps=1e-6, vocab_size=512,
        vocab_size_per_layer_input=448,
    ), 28, "bfloat16"),
    # Full layers only, one head; the window has nothing to act on.
    "all_full_one_head": (_text(
        hidden_size=64, hidden_size_per_layer_input=4, num_hidden_layers=7,
        intermediate_size=[64, 96, 128, 160, 192, 40, 80], num_attention_heads=1, num_key_value_heads=1,
        head_dim=32, sliding_window=4, layer_types=_types("FFFFFFF"), num_kv_shared_layers=1,
        activation_sparsity_pattern=[0.8] + [0.0] * 6, laurel_rank=2, altup_num_inputs=3,
        final_logit_softcapping=20.0, rope_theta=5000.0, rope_local_base_freq=10000.0, rms_norm_eps=1e-6,
        vocab_size=256, vocab_size_per_layer_input=250,
    ), 3, "bfloat16"),
    # The shallowest: five layers, eight heads of their own K/V, one of them shared.
    "five_layers": (_text(
        hidden_size=64, hidden_size_per_layer_input=24, num_hidden_layers=5,
        intermediate_size=[256, 320, 64, 128, 512], num_attention_heads=8, num_key_value_heads=8,
        head_dim=32, sliding_window=13, layer_types=_types("FSFSF"), num_kv_shared_layers=1,
        activation_sparsity_pattern=[0.0] * 5, laurel_rank=12, altup_num_inputs=4,
        final_logit_softcapping=15.0, rope_theta=40000.0, rope_local_base_freq=2000.0,
        rms_norm_eps=1e-6, vocab_size=512, vocab_size_per_layer_input=500,
    ), 19, "bfloat16"),
    # A multimodal folder's layout: text_config inside, names below model.language_model., and as
    # many fields as possible left to their defaults (layer_types, sparsity, thetas, altup, cap, eps).
    "nested_defaults": ({
        "architectures": ["Gemma3nForConditionalGeneration"],
        "model_type": "gemma3n",
        "tie_word_embeddings": True,
        "eos_token_id": [1, 106],
        "text_config": {
            "model_type": "gemma3n_text", "hidden_size": 96, "hidden_size_per_layer_input": 8,
            "num_hidden_layers": 12, "intermediate_size": 160, "num_attention_heads": 8,
            "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 1024,
            "sliding_window": 10, "num_kv_shared_layers": 4, "laurel_rank": 8, "altup_num_inputs": 4,
            "vocab_size": 400, "vocab_size_per_layer_input": 320,
        },
    }, 3, "bfloat16"),
}


def text_part(config):
    """The text configuration of a folder's config.json."""
    return config.get("text_config", config)
