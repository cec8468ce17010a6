"""Audio towers in small, and the real one: what make_audio_goldens.py runs.

`CONFIGS` maps a name to (config.json as a dict, seed, [samples, …]). Each has a text part just large enough to be a model.
"""

from vision_configs import TEXT


def config(audio, text=()):
    """A config.json with that audio part."""
    return {
        "architectures": ["Gemma3nForConditionalGeneration"], "model_type": "gemma3n",
        "text_config": TEXT | dict(text),
        "audio_config": {"model_type": "gemma3n_audio", "vocab_size": 8, "vocab_offset": 312} | audio,
        "boa_token_id": 100, "eoa_token_id": 312, "audio_token_id": 313, "tie_word_embeddings": True,
    }


# 0.04 s to 30 s: no whole frame, one, two of one token, the published shape's tables.
LENGTHS = [641, 2600, 8000, 20001, 80000]

CONFIGS = {
    # The published front end, window, kernels and reduction.
    "small": (config({"hidden_size": 64, "conf_num_attention_heads": 4, "conf_num_hidden_layers": 3}), 1, LENGTHS + [480000]),
    # All that the config lets differ.
    "odd": (config({
        "hidden_size": 36, "input_feat_size": 40, "conf_num_attention_heads": 3, "conf_num_hidden_layers": 2,
        "conf_attention_chunk_size": 4, "conf_attention_context_left": 6, "conf_conv_kernel_size": 4, "conf_reduction_factor": 3,
        "conf_residual_weight": 0.75, "conf_attention_logit_cap": 2.0, "sscp_conv_channel_size": [12, 10],
        "sscp_conv_kernel_size": [[5, 3], [2, 3]], "sscp_conv_stride_size": [[2, 2], [1, 2]],
        "sscp_conv_group_norm_eps": 0.01}), 2, LENGTHS),
    # No reduction, one block, keys of the frame itself alone.
    "plain": (config({
        "hidden_size": 128, "conf_num_attention_heads": 2, "conf_num_hidden_layers": 1, "conf_attention_context_left": 1,
        "conf_conv_kernel_size": 1, "conf_reduction_factor": 1, "sscp_conv_channel_size": [64, 64]}), 3, LENGTHS),
    "published": (config({"vocab_size": 128, "vocab_offset": 192}, {"hidden_size": 2048}) | {"eoa_token_id": 192, "audio_token_id": 193}, 4,
                  [641, 16000, 80000, 480000]),
}
