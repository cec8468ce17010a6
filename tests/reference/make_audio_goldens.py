"""Writes tests/goldens/audio: what Hugging Face's audio tower and embedder make of random weights and noise.

    python tests/reference/make_audio_goldens.py [NAME ...]

Weights are the synth rule's (synth_weights.py), in bfloat16, widened. Samples are its values too, of the tensor number fnv1a32("sound"), ± 0.2. Runs in
float64 and, to tell noise from error, in float32; the published shape in float32 alone.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers.models.gemma3n.configuration_gemma3n import Gemma3nAudioConfig, Gemma3nTextConfig
from transformers.models.gemma3n.feature_extraction_gemma3n import Gemma3nAudioFeatureExtractor
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nAudioEncoder, Gemma3nMultimodalEmbedder

import hf_reference as hf
from audio_configs import CONFIGS
from synth_weights import audio_tensor, counter_values, fnv1a32

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens" / "audio"
# Of larger results every so many-th value is kept.
KEPT = 512


def build(config, seed, dtype):
    """(tower, embedder) with their weights."""
    audio = Gemma3nAudioConfig(**config["audio_config"])
    tower = Gemma3nAudioEncoder(audio)
    embedder = Gemma3nMultimodalEmbedder(audio, Gemma3nTextConfig(**config["text_config"]))
    for prefix, module in (("audio_tower.", tower), ("embed_audio.", embedder)):
        parameters = dict(module.named_parameters())
        with torch.no_grad():
            for name, tensor in parameters.items():
                tensor.copy_(audio_tensor(prefix + name, tuple(tensor.shape), seed, torch.bfloat16))
        module.to(dtype).eval()
    return tower, embedder


def features_of(config, samples):
    """[frames][bands] of one clip."""
    extractor = Gemma3nAudioFeatureExtractor(feature_size=config["audio_config"].get("input_feat_size", 128))
    return torch.from_numpy(np.asarray(extractor([samples], return_tensors="np")["input_features"][0]))


@torch.no_grad()
def run(tower, embedder, features):
    """(encoded, soft tokens) of one clip, each [tokens][width] in the model's dtype."""
    dtype = next(tower.parameters()).dtype
    mask = torch.zeros(1, features.shape[0], dtype=torch.bool)
    with hf.islands(dtype):
        encoded = tower(features[None].to(dtype), mask)
        encoded = getattr(encoded, "last_hidden_state", encoded)
        encoded = encoded[0] if isinstance(encoded, tuple) else encoded
        return encoded[0], embedder(inputs_embeds=encoded)[0]


@torch.no_grad()
def hard_tokens(embedder, dtype, config):
    """Embeddings of the first hard token and of the last, which pads."""
    audio = config["audio_config"]
    with hf.islands(dtype):
        ids = [audio["vocab_offset"], audio["vocab_offset"] + audio["vocab_size"] - 1]
        return embedder(input_ids=torch.tensor([ids]))[0]


def thinned(values):
    """Every n-th of the values, flat, at most KEPT."""
    flat = values.flatten()
    return flat[:: max(1, math.ceil(len(flat) / KEPT))].float().contiguous()


def main():
    for name, (config, seed, lengths) in CONFIGS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        large = name == "published"
        tower, embedder = build(config, seed, torch.float32)
        wide = None if large else build(config, seed, torch.float64)
        cases, tensors = [], {}
        for length in lengths:
            samples = counter_values(fnv1a32("sound"), length, 0.2, 0.0)
            features = features_of(config, samples)
            near = run(tower, embedder, features)
            exact = near if large else run(*wide, features)
            for key, values in (("mel", features), ("encoded", exact[0]), ("soft_tokens", exact[1])):
                tensors[f"{length}.{key}"] = thinned(values)
            cases.append({
                "samples": length, "frames": len(features), "tokens": len(exact[1]),
                "rms": [t.square().mean().sqrt().item() for t in exact],
                "float32_noise": None if large else [(a - b).abs().max().item() for a, b in zip(exact, near)],
            })
            print(name, cases[-1], flush=True)
        dtype = torch.float32 if large else torch.float64
        tensors["hard_tokens"] = hard_tokens((embedder if large else wide[1]), dtype, config).float().contiguous()
        folder = GOLDENS / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        golden = {"seed": seed, "versions": hf.versions(), "cases": cases}
        (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
        save_file(tensors, folder / "values.safetensors")


if __name__ == "__main__":
    main()
