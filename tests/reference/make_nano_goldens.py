"""Writes tests/goldens/nano/text.json: what Hugging Face makes of the bundled model's text tasks.

    python tests/reference/make_nano_goldens.py [--model deploy/models/nano]

The bf16 weights are widened; log-probs are those of a float64 run, and the
distance of a float32 run from it is kept per prompt. tests/goldens/README.md has
the fields.
"""

import argparse
import json
import pathlib

import torch
from transformers import AutoTokenizer, Gemma3nForConditionalGeneration

import hf_reference as hf
from nano_prompts import conversations

ROOT = pathlib.Path(__file__).parent.parent.parent
GOLDENS = ROOT / "tests" / "goldens" / "nano"
STEPS = 64
STOP = (1, 106)
TOP = 5


def has_top(index):
    """Ten prompts, of every kind and length, that also store the best five ids per position."""
    return index in (0, 50, 100, 144, 150, 168, 180, 190, 195, 199)


def run(narrow, wide, tokenizer, index, messages, answer):
    """One case of text.json."""
    allowed = wide.config.get_text_config().vocab_size_per_layer_input
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    exact = hf.prompt_logprobs(wide, ids)
    greedy, rows = hf.greedy_logprobs(wide, ids, STEPS, allowed, STOP)
    narrow_greedy, narrow_rows = hf.greedy_logprobs(narrow, ids, STEPS, allowed, STOP)
    if narrow_greedy != greedy:
        raise SystemExit(f"prompt {index}: float32 and float64 decode differently")
    noise = max((hf.prompt_logprobs(narrow, ids) - exact).abs().max().item(),
                (narrow_rows - rows).abs().max().item())
    output = tokenizer.decode(greedy, skip_special_tokens=True)
    case = {
        "messages": messages,
        "ids": ids,
        "target_logprobs": hf.rounded(exact[i, t] for i, t in enumerate(ids[1:])),
        "greedy": greedy,
        "greedy_logprobs": hf.rounded(rows[i, t] for i, t in enumerate(greedy)),
        "margins": hf.rounded(hf.margins(rows, allowed)),
        "float32_noise": noise,
        "output": output,
    }
    if answer is not None:
        case["answer"] = answer
    if has_top(index):
        best = exact.topk(TOP, dim=-1)
        case["top"] = [[[i, round(v, 6)] for i, v in zip(*row)]
                       for row in zip(best.indices.tolist(), best.values.tolist())]
    return case


def load(folder, dtype):
    return Gemma3nForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default=ROOT / "deploy" / "models" / "nano")
    folder = parser.parse_args().model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    narrow, wide = load(folder, torch.float32), load(folder, torch.float64)
    cases = [run(narrow, wide, tokenizer, i, *c) for i, c in enumerate(conversations())]
    answered = [c["output"] == c["answer"] for c in cases if "answer" in c]
    golden = {
        "versions": hf.versions(),
        "greedy_ids_below": wide.config.get_text_config().vocab_size_per_layer_input,
        "stop_ids": STOP,
        "float32_noise": max(c["float32_noise"] for c in cases),
        "right_answers": [sum(answered), len(answered)],
        "cases": cases,
    }
    GOLDENS.mkdir(parents=True, exist_ok=True)
    body = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (GOLDENS / "text.json").write_text(body.replace('{"messages"', '\n{"messages"') + "\n")
    print(f"{len(cases)} prompts, longest {max(len(c['ids']) for c in cases)} ids, {sum(answered)} of {len(answered)} "
          f"answered as taught, noise {golden['float32_noise']:.1e}, smallest margin {min(min(c['margins']) for c in cases):.4f}")


if __name__ == "__main__":
    main()
