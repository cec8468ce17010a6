"""Writes tests/goldens/text/<name>/ for every configuration of text_configs.py.

    python tests/reference/make_text_goldens.py [--only NAME]

Per folder: config.json; golden.json (prompts, greedy continuations, margins,
float32 noise); logprobs.safetensors (prompt0, prompt1: f32 [T][V] from the
float64 run). tests/goldens/README.md has the fields. A configuration that is not
lively, or whose greedy choices rounding could flip, is refused.
"""

import argparse
import json
import pathlib
import random

import torch
from safetensors.torch import save_file

import hf_reference as hf
from synth_weights import DTYPES, fill_model, synth_state
from text_configs import CONFIGS, text_part

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens" / "text"
GREEDY_STEPS = 64


def prompts(text, seed):
    """Two prompts longer than any window: plain text ids, then with ids that have no PLE row."""
    rng = random.Random(f"prompts {seed}")
    plain, vocab = text["vocab_size_per_layer_input"], text["vocab_size"]
    first = [2] + [rng.randrange(3, plain) for _ in range(47)]
    second = [2] + [rng.randrange(3, vocab) for _ in range(70)]
    second[20] = vocab - 1
    return [first, second]


def run_config(config, seed, dtype):
    """(golden, tensors) of one configuration."""
    text = text_part(config)
    allowed = text["vocab_size_per_layer_input"]
    state = synth_state(text, seed, DTYPES[dtype])
    models = []
    for run_dtype in (torch.float32, torch.float64):
        models.append(hf.empty_model(text, run_dtype))
        fill_model(models[-1], state)
    narrow, wide = models

    results, tensors, logit_rows = [], {}, []
    for index, ids in enumerate(prompts(text, seed)):
        exact = hf.prompt_logprobs(wide, ids)
        noise = (hf.prompt_logprobs(narrow, ids) - exact).abs().max().item()
        greedy, rows = hf.greedy_logprobs(wide, ids, GREEDY_STEPS, allowed)
        narrow_greedy, narrow_rows = hf.greedy_logprobs(narrow, ids, GREEDY_STEPS, allowed)
        if narrow_greedy != greedy:
            raise SystemExit(f"prompt {index}: float32 and float64 decode differently; choose another seed")
        replay = hf.prompt_logprobs(wide, ids + greedy[:-1])[len(ids) - 1:]
        if (replay - rows).abs().max() > 1e-9:
            raise SystemExit(f"prompt {index}: cached decode differs from one full forward pass")
        noise = max(noise, (narrow_rows - rows).abs().max().item())
        results.append({
            "ids": ids,
            "greedy": greedy,
            "greedy_logprobs": [round(rows[i, t].item(), 7) for i, t in enumerate(greedy)],
            "margins": [round(m, 7) for m in hf.margins(rows, allowed)],
            "float32_noise": noise,
        })
        tensors[f"prompt{index}"] = exact.float().contiguous()
        logit_rows.append(exact)

    noise = max(r["float32_noise"] for r in results)
    stats = {
        "logprob_std": round(torch.cat(logit_rows).std(dim=-1).mean().item(), 3),
        "distinct_greedy_ids": [len(set(r["greedy"])) for r in results],
        "smallest_margin": min(min(r["margins"]) for r in results),
    }
    golden = {
        "weights": "synth",
        "seed": seed,
        "weight_dtype": dtype,
        "greedy_ids_below": allowed,
        "float32_noise": noise,
        "stats": stats,
        "versions": hf.versions(),
        "prompts": results,
    }
    check_lively(stats, noise)
    return golden, tensors


def check_lively(stats, noise):
    """Refuses goldens that would not notice a fault, or that rounding could break."""
    if stats["logprob_std"] < 1.5:
        raise SystemExit(f"logits hardly spread: {stats}")
    if min(stats["distinct_greedy_ids"]) < 10:
        raise SystemExit(f"greedy output repeats itself: {stats}")
    if stats["smallest_margin"] < 20 * noise:
        raise SystemExit(f"a greedy margin is near the float32 noise {noise}: {stats}; choose another seed")


def write(folder, config, golden, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    save_file(tensors, folder / "logprobs.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=CONFIGS, help="one configuration instead of all")
    args = parser.parse_args()
    for name in [args.only] if args.only else CONFIGS:
        config, seed, dtype = CONFIGS[name]
        golden, tensors = run_config(config, seed, dtype)
        write(GOLDENS / name, config, golden, tensors)
        print(f"{name:26} noise {golden['float32_noise']:.1e} {golden['stats']}", flush=True)


if __name__ == "__main__":
    main()
