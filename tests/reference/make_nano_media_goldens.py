"""Writes tests/goldens/nano/media.json and by_slice.json: pictures, sounds and mixed turns, and every slice of the model.

    python tests/reference/make_nano_media_goldens.py [--model deploy/models/nano]

The pictures and sounds are written beside them, into media/, and the soft tokens
into soft_tokens.safetensors. Numbers are those of a float64 run on the widened bf16
weights; the distance of a float32 run from it is kept per case.
tests/goldens/README.md has the fields.
"""

import argparse
import json
import pathlib
import random
import sys
import wave

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, Gemma3nForConditionalGeneration

import hf_reference as hf

sys.path.append(str(pathlib.Path(__file__).parent / "nano"))

import heldout_lists  # noqa: E402
import pictures  # noqa: E402
import slices  # noqa: E402
from architecture import PICTURE_SIZE  # noqa: E402
from things import THINGS  # noqa: E402

ROOT = pathlib.Path(__file__).parent.parent.parent
GOLDENS = ROOT / "tests" / "goldens" / "nano"
STEPS = 64
STOP = (1, 106)
TEXT_VOCABULARY = 3072
SLICE_CASES = ("translation", "recall", "picture", "sound", "picture_and_sound")


def thing(english):
    return [t.english for t in THINGS].index(english)


def write_pictures(folder):
    """PNG files: square ones of the model's own size, a wide one, a small grey one."""
    renderer = pictures.Renderer(PICTURE_SIZE)

    def draw(name, *things):
        pixels = renderer.render(random.Random(f"golden {name}"), [thing(t) for t in things])
        return Image.fromarray(pixels)

    draw("owl", "owl").save(folder / "owl.png")
    draw("key", "key").save(folder / "key.png")
    draw("cat_train", "cat", "train").save(folder / "cat_train.png")
    draw("bicycle", "bicycle").resize((320, 200), Image.BICUBIC).save(folder / "bicycle_wide.png")
    draw("sun", "sun").resize((96, 96), Image.BICUBIC).convert("L").save(folder / "sun_small_grey.png")


def write_sound(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())


def write_sounds(folder):
    """16-bit WAV files at 16 kHz, by held-out voices."""
    spoken = {}
    for name, language in (("candle", "en"), ("dog", "de"), ("umbrella", "es")):
        samples = heldout_lists.speak_sound({"thing": thing(name), "language": language, "number": 0})
        spoken[name] = (np.clip(samples, -1, 1) * 32767).round()
        write_sound(folder / f"{name}_{language}.wav", spoken[name])
    write_sound(folder / "dog_de_long.wav", np.pad(spoken["dog"], (0, len(spoken["umbrella"]) - len(spoken["dog"]))))


def image(name):
    return {"type": "image", "file": f"{name}.png"}


def audio(name):
    return {"type": "audio", "file": f"{name}.wav"}


def ask(*content):
    return {"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


def said(text):
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def cases():
    """{name: messages}."""
    recall = heldout_lists.questions("recall")[0]["prompt"]
    return {
        "translation": [ask("Translate cat to Russian.")],
        "recall": [ask(recall)],
        "picture": [ask(image("owl"), "What is this?")],
        "picture_in_french": [ask(image("key"), "Qu'est-ce que c'est ?")],
        "two_things": [ask(image("cat_train"), "Describe the picture in German.")],
        "wide_picture": [ask(image("bicycle_wide"), "Describe the picture in Spanish.")],
        "small_grey_picture": [ask(image("sun_small_grey"), "Что это?")],
        "picture_after_text": [ask("Tell me about this.", image("owl"))],
        "two_pictures": [ask(image("owl"), image("key"), "What is this?")],
        "three_pictures": [ask(image("owl"), "and", image("key"), "and", image("cat_train"), "What is on the left?")],
        "sound": [ask(audio("candle_en"), "Transcribe.")],
        "spoken_translation": [ask(audio("dog_de"), "Translate this to Spanish.")],
        "two_sounds": [ask(audio("umbrella_es"), audio("dog_de"), "What do you hear?")],
        # Of two lengths, above, the shorter is padded in the batch and its last tokens change (gemma3n-audio.md §4.2).
        "two_sounds_of_one_length": [ask(audio("dog_de_long"), audio("umbrella_es"), "What do you hear?")],
        "picture_and_sound": [ask(image("owl"), audio("candle_en"), "Transcribe.")],
        "turns": [ask(image("owl"), "What is this?"), said("owl"), ask("Translate owl to Russian."), said("сова"),
                  ask(audio("umbrella_es"), "Translate this to English.")],
    }


def media_of(messages):
    """(pictures, sounds) of a conversation, as the processor takes them."""
    parts = [part for message in messages for part in message["content"] if "file" in part]
    folder = GOLDENS / "media"
    seen = [Image.open(folder / part["file"]) for part in parts if part["type"] == "image"]
    heard = []
    for part in parts:
        if part["type"] == "audio":
            with wave.open(str(folder / part["file"])) as file:
                heard.append(np.frombuffer(file.readframes(2**24), "<i2").astype(np.float32) / 32768)
    return seen, heard


def prepare(processor, messages):
    """The processor's tensors for a conversation."""
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    seen, heard = media_of(messages)
    media = ({"images": seen} if seen else {}) | ({"audio": heard} if heard else {})
    inputs = processor(text=text, add_special_tokens=False, return_tensors="pt", **media)
    return {k: v for k, v in inputs.items() if k in ("input_ids", "pixel_values", "input_features", "input_features_mask")}


def cast(inputs, dtype):
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}


@torch.no_grad()
def run(model, inputs):
    """(float64 log-probs [ids][V] of the prompt, soft tokens by kind, greedy ids, their log-prob rows)."""
    inputs = cast(inputs, model.dtype)
    with hf.islands(model.dtype):
        first = model(**inputs, use_cache=True)
        rows, cache, chosen = [torch.log_softmax(first.logits[0, -1].double(), -1)], first.cache, []
        while True:
            chosen.append(int(rows[-1][:TEXT_VOCABULARY].argmax()))
            if chosen[-1] in STOP or len(chosen) == STEPS:
                break
            step = model(torch.tensor([chosen[-1:]]), cache=cache, use_cache=True)
            cache = step.cache
            rows.append(torch.log_softmax(step.logits[0, -1].double(), -1))
    encoded = {"image": first.image_outputs, "audio": first.audio_outputs}
    soft = {kind: outputs.pooler_output for kind, outputs in encoded.items() if outputs is not None}
    return torch.log_softmax(first.logits[0].double(), -1), soft, chosen, torch.stack(rows)


def case_of(narrow, wide, processor, messages):
    """(fields of a case, its soft tokens): see tests/goldens/README.md."""
    inputs = prepare(processor, messages)
    ids = inputs["input_ids"][0].tolist()
    exact, soft, greedy, rows = run(wide, inputs)
    near, near_soft, near_greedy, near_rows = run(narrow, inputs)
    assert near_greedy == greedy, f"float32 and float64 decode {messages} differently"
    noise = max((near - exact).abs().max().item(), (near_rows - rows).abs().max().item())
    case = {
        "messages": messages, "ids": ids,
        "target_logprobs": hf.rounded(exact[i, t] for i, t in enumerate(ids[1:])),
        "greedy": greedy, "greedy_logprobs": hf.rounded(rows[i, t] for i, t in enumerate(greedy)),
        "margins": hf.rounded(hf.margins(rows, TEXT_VOCABULARY)), "float32_noise": noise,
        "output": processor.tokenizer.decode(greedy, skip_special_tokens=True),
    }
    if soft:
        case["soft_token_noise"] = {k: (near_soft[k] - v).abs().max().item() for k, v in soft.items()}
    return case, soft


def write(name, golden):
    body = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (GOLDENS / name).write_text(body.replace('{"messages"', '\n{"messages"') + "\n", encoding="utf8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default=ROOT / "deploy" / "models" / "nano")
    folder = parser.parse_args().model
    (GOLDENS / "media").mkdir(parents=True, exist_ok=True)
    write_pictures(GOLDENS / "media")
    write_sounds(GOLDENS / "media")
    processor = AutoProcessor.from_pretrained(folder)
    narrow, wide = (Gemma3nForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
                    for dtype in (torch.float32, torch.float64))
    found, tensors = {}, {}
    for name, messages in cases().items():
        found[name], soft = case_of(narrow, wide, processor, messages)
        tensors |= {f"{name}.{kind}": rows.float().contiguous() for kind, rows in soft.items()}
        print(f"{name}: {found[name]['output']!r}, noise {found[name]['float32_noise']:.1e}", flush=True)
    save_file(tensors, GOLDENS / "soft_tokens.safetensors")
    shared = {"versions": hf.versions(), "greedy_ids_below": TEXT_VOCABULARY, "stop_ids": STOP}
    write("media.json", shared | {"cases": found})
    by_slice = {}
    for name, chosen in slices.SLICES.items():
        cut_narrow, cut_wide = (slices.cut(model, chosen) for model in (narrow, wide))
        for model in (cut_narrow, cut_wide):
            model.set_attn_implementation("eager")
        by_slice[name] = {"widths": chosen.widths, "skipped_layers": chosen.skipped,
                          "cases": {c: case_of(cut_narrow, cut_wide, processor, cases()[c])[0] for c in SLICE_CASES}}
        print(name, {c: v["output"] for c, v in by_slice[name]["cases"].items()}, flush=True)
    write("by_slice.json", shared | {"slices": by_slice})


if __name__ == "__main__":
    main()
