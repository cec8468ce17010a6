"""Writes tests/goldens/synth/hashes.json: the bytes of every tensor that the synth rule makes, as hashes.

    python tests/reference/make_synth_goldens.py

For two configurations of text_configs.py, in both dtypes: tensor name → [shape,
first value, FNV-1a 64 of the stored little-endian bytes]. A second program that
writes synth folders is right if all of these agree.
"""

import json
import pathlib

import torch

from synth_weights import DTYPES, synth_state
from text_configs import CONFIGS, text_part

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens" / "synth"
NAMES = ("published_shape", "mha_no_sharing")


def fnv1a64(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def described(tensor):
    data = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return [list(tensor.shape), tensor.flatten()[0].item(), fnv1a64(data)]


def main():
    folders = []
    for name in NAMES:
        config, seed, _ = CONFIGS[name]
        for dtype in DTYPES:
            state = synth_state(text_part(config), seed, DTYPES[dtype])
            folders.append({"config": name, "seed": seed, "dtype": dtype,
                            "tensors": {k: described(v) for k, v in sorted(state.items())}})
    GOLDENS.mkdir(parents=True, exist_ok=True)
    body = json.dumps({"folders": folders}, separators=(",", ":"))
    (GOLDENS / "hashes.json").write_text(body.replace('],"', '],\n"') + "\n")
    print(f"{sum(len(f['tensors']) for f in folders)} tensors hashed")


if __name__ == "__main__":
    main()
