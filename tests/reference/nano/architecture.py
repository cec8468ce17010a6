"""nano's configuration and its starting weights, for Hugging Face's own Gemma 3n classes.

Every part of the published models is present: AltUp, LAuReL, per-layer embeddings,
a KV-shared tail, sliding and full layers, sparse layers, a vision tower with each
of MobileNet-V5's block kinds, an audio conformer.
"""

import torch
from timm.models._efficientnet_builder import decode_arch_def
from transformers import Gemma3nConfig, Gemma3nForConditionalGeneration, GenerationConfig

import tokenizer as vocabulary

LAYERS = 10
FFN_WIDTH = 384
HEAD_DIM = 32
HIDDEN = 128
AUDIO_HIDDEN = 96
IMAGE_SOFT_TOKENS = 16  # a grid of 4 x 4
AUDIO_SOFT_TOKENS = 32  # of 160 ms: 5.1 s of sound
PICTURE_SIZE = 256


def vision_blocks():
    """timm's block_args, decoded afresh: its builder consumes them in place."""
    return decode_arch_def([
        ["er_r1_k3_s2_e4_c16", "er_r1_k3_s1_e4_c16"],
        ["uir_r1_a3_k5_s2_e6_c32", "uir_r1_a5_k0_s1_e4_c32", "uir_r1_a3_k0_s1_e4_c32"],
        ["uir_r1_a5_k5_s2_e6_c64", "uir_r1_a5_k0_s1_e4_c64", "uir_r1_a0_k0_s1_e1_c64", "mqa_r1_k3_h6_v2_s1_d16_c64",
         "uir_r1_a0_k0_s1_e2_c64"],
        ["uir_r1_a5_k5_s2_e6_c96", "mqa_r1_k3_h4_s1_d32_c96", "uir_r1_a0_k0_s1_e2_c96"],
    ])


def text_config():
    v = vocabulary
    return {
        "vocab_size": v.TEXT_VOCABULARY + v.VISION_VOCABULARY + v.AUDIO_VOCABULARY,
        "vocab_size_per_layer_input": v.TEXT_VOCABULARY,
        "hidden_size": HIDDEN, "hidden_size_per_layer_input": 16, "num_hidden_layers": LAYERS,
        "intermediate_size": [FFN_WIDTH] * LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": HEAD_DIM,
        "layer_types": ["full_attention" if i % 5 == 4 else "sliding_attention" for i in range(LAYERS)],
        "sliding_window": 32, "num_kv_shared_layers": 5, "activation_sparsity_pattern": [0.95] * 3 + [0.0] * (LAYERS - 3),
        "laurel_rank": 16, "final_logit_softcapping": 30.0, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
        "altup_num_inputs": 4, "altup_active_idx": 0, "altup_coef_clip": 120.0, "altup_correct_scale": True,
        "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
        "pad_token_id": v.PAD, "eos_token_id": v.EOS, "bos_token_id": v.BOS,
    }


def vision_config():
    return {
        "architecture": "mobilenetv5_300m", "hidden_size": HIDDEN, "vocab_size": vocabulary.VISION_VOCABULARY,
        "vocab_offset": vocabulary.TEXT_VOCABULARY, "rms_norm_eps": 1e-6, "do_pooling": False,
        "model_args": {"block_args": vision_blocks(), "num_features": HIDDEN, "stem_size": 16, "fix_stem": True,
                       "stem_bias": True, "pad_type": "same", "msfa_output_resolution": 4},
    }


def audio_config():
    return {
        "vocab_size": vocabulary.AUDIO_VOCABULARY,
        "vocab_offset": vocabulary.TEXT_VOCABULARY + vocabulary.VISION_VOCABULARY,
        "hidden_size": AUDIO_HIDDEN, "input_feat_size": 128, "conf_num_attention_heads": 4, "conf_num_hidden_layers": 3,
        "sscp_conv_channel_size": [32, 16], "conf_attention_chunk_size": 12, "conf_attention_context_left": 13,
        "conf_attention_context_right": 0,
    }


def config():
    v = vocabulary
    return Gemma3nConfig(
        text_config=text_config(), vision_config=vision_config(), audio_config=audio_config(),
        vision_soft_tokens_per_image=IMAGE_SOFT_TOKENS, audio_soft_tokens_per_image=AUDIO_SOFT_TOKENS,
        boi_token_id=v.START_OF_IMAGE, eoi_token_id=v.END_OF_IMAGE, image_token_id=v.IMAGE_SOFT_TOKEN,
        boa_token_id=v.START_OF_AUDIO, eoa_token_id=v.END_OF_AUDIO, audio_token_id=v.AUDIO_SOFT_TOKEN,
        eos_token_id=[v.EOS, v.END_OF_TURN], tie_word_embeddings=True)


def restore_saveable_config(model):
    """Makes the model's config serialisable again after timm's builder, and its generation greedy."""
    model.config.vision_config.model_args = vision_config()["model_args"]
    model.generation_config = GenerationConfig(do_sample=False, bos_token_id=vocabulary.BOS, pad_token_id=vocabulary.PAD,
                                               eos_token_id=[vocabulary.EOS, vocabulary.END_OF_TURN])


@torch.no_grad()
def _initialise(model):
    """Weights that learn at this width; Hugging Face's own starting values leave it stuck.

    std 0.02 is four times too small at width 128; unit q_norm and k_norm make the
    softmax one-hot (the score scale is 1); a zero correct_output_scale cuts the
    per-layer embeddings off; a layer_scale of 1e-5 hides every vision block.
    """
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)) and name != "lm_head":
            module.weight.normal_(0, module.weight[0].numel() ** -0.5)
    text = model.model.language_model
    text.embed_tokens.weight.normal_(0, 0.05)
    text.embed_tokens_per_layer.weight.normal_(0, 0.1)
    for layer in text.layers:
        layer.altup.correct_output_scale.fill_(1.0)
        layer.altup.prediction_coefs.weight.normal_(0, 0.02)
        layer.altup.correction_coefs.weight.normal_(0, 0.02)
        layer.self_attn.q_norm.weight.fill_(HEAD_DIM ** -0.25)
        if hasattr(layer.self_attn, "k_norm"):
            layer.self_attn.k_norm.weight.fill_(HEAD_DIM ** -0.25)
    for name, parameter in model.model.vision_tower.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(0.3)
    for embedder in (model.model.embed_vision, model.model.embed_audio):
        embedder.embedding.weight.normal_(0, 0.3)


def fresh_model(seed):
    """A float32 model with starting weights, a function of `seed`."""
    torch.manual_seed(seed)
    model = Gemma3nForConditionalGeneration(config())
    _initialise(model)
    model.tie_weights()
    return model
