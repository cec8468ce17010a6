"""Puts the held-out picture and sound questions to Hugging Face and to lapidary, and compares their greedy answers token by token.

    lapidary pack deploy/models/nano W/f32 --dtype=f32
    python tests/reference/nano/compare_media.py --lapidary LAPIDARY --packed W/f32 [W/int8 …] [--media sounds] [--most 25]

The questions, the drawings and recordings and what is right are the model card's own: tasks of tests/goldens/nano/heldout.json, drawn by seed and judged by exact match.
Hugging Face runs in float32, in the batches that evaluate.py made the card with;
lapidary gets each picture as a PNG file, each sound as a WAV, in a process of its own.
Sounds need espeak-ng. Per task the
first `--most` questions are asked, all 240 without it.

A difference is shown with the token where it begins: Hugging Face's margin there
(log-probability of its token minus that of lapidary's) in float32 and in float64,
which together say how much of the margin is rounding, and lapidary's own.
Ends with status 1 if a pack of f32 answers anything else than Hugging Face.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import scipy.io.wavfile
import torch
from PIL import Image
from transformers import AutoProcessor, Gemma3nForConditionalGeneration

import evaluate
import heldout_lists
import pictures
from architecture import PICTURE_SIZE
from evaluate import MOST_NEW_TOKENS, Asker

sys.path.append(str(pathlib.Path(__file__).parent.parent))

import hf_reference as hf  # noqa: E402

ROOT = pathlib.Path(__file__).parent.parent.parent.parent
MODEL = ROOT / "deploy" / "models" / "nano"
LISTS = ROOT / "tests" / "goldens" / "nano" / "heldout.json"
TASKS = {"pictures": ("picture name", "two things", "left or right", "picture paragraph"),
         "sounds": ("transcription", "spoken translation")}
FLAGS = {"picture": "--image", "sound": "--audio"}
STOP = (1, 106)
BATCH = 24
TOP = 20  # alternatives that lapidary lists per token


def load(dtype):
    return Gemma3nForConditionalGeneration.from_pretrained(MODEL, dtype=dtype, attn_implementation="eager").eval()


@torch.no_grad()
def ask_hugging_face(model, asker, task, questions):
    """Per question its greedy answer: {"ids", "text", "rows"}, the log-probs [ids][V] that each id was chosen from."""
    found = []
    size = evaluate.BATCH.get(task, BATCH)
    for begin in range(0, len(questions), size):
        inputs = asker.inputs(questions[begin:begin + size])
        made = model.generate(**inputs, max_new_tokens=MOST_NEW_TOKENS, do_sample=False, output_logits=True,
                              return_dict_in_generate=True)
        rows = torch.log_softmax(torch.stack(made.logits, dim=1).double(), dim=-1)
        for ids, row in zip(made.sequences[:, inputs["input_ids"].shape[1]:].tolist(), rows):
            length = next((i + 1 for i, token in enumerate(ids) if token in STOP), len(ids))
            text = asker.tokenizer.decode(ids[:length], skip_special_tokens=True)
            found.append({"ids": ids[:length], "text": text, "rows": row[:length]})
    return found


def medium_of(question):
    return next(medium for medium in FLAGS if medium in question)


def ask_lapidary(program, packed, question, file):
    """The greedy answer of a packed model: {"ids", "text", "tops"}, per id {alternative: log-prob}."""
    done = subprocess.run([program, "run", packed, f"{FLAGS[medium_of(question)]}={file}", question["prompt"], "--temperature=0", "--json",
                           f"--max-tokens={MOST_NEW_TOKENS}", f"--logprobs={TOP}"], capture_output=True, encoding="utf8")
    if done.returncode:
        sys.exit(f"{done.args}: {done.stderr}")
    answer = json.loads(done.stdout)
    tops = [{other["id"]: other["logprob"] for other in token["top"]} for token in answer["tokens"]]
    return {"ids": answer["token_ids"], "text": answer["text"], "tops": tops}


def make_files(questions, folder):
    """Renders the questions' pictures into PNG files and speaks their sounds into WAVs; a path for each question."""
    renderer, paths = pictures.Renderer(PICTURE_SIZE), []
    for number, question in enumerate(questions):
        if medium_of(question) == "picture":
            paths.append(folder / f"{number}.png")
            Image.fromarray(heldout_lists.draw_picture(renderer, question["picture"])).save(paths[-1])
        else:
            paths.append(folder / f"{number}.wav")
            scipy.io.wavfile.write(paths[-1], 16000, heldout_lists.speak_sound(question["sound"]))
    return paths


@torch.no_grad()
def exact_row(wide, asker, question, ids):
    """Float64 log-probs [V] after a question and the first tokens of an answer."""
    inputs = asker.inputs([question])
    prompt = torch.cat([inputs["input_ids"], torch.tensor([ids], dtype=torch.long)], dim=1)
    media = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()
             if name in ("pixel_values", "input_features", "input_features_mask")}
    with hf.islands(torch.float64):
        logits = wide(input_ids=prompt, **media).logits
    return torch.log_softmax(logits[0, -1], dim=-1)


def describe(wide, asker, question, theirs, ours):
    """What a difference is, and how sure either side was where it begins."""
    at = next(i for i, (a, b) in enumerate(zip(theirs["ids"], ours["ids"])) if a != b)
    their, our = theirs["ids"][at], ours["ids"][at]
    near, exact = theirs["rows"][at], exact_row(wide, asker, question, theirs["ids"][:at])
    shift = ours["tops"][at][our] - ours["tops"][at].get(their, float("-inf"))
    return (f"{question[medium_of(question)]}: {question['prompt']} Hugging Face {theirs['text']!r}, lapidary {ours['text']!r}, "
            f"right {question['answer']!r}; token {at}: Hugging Face's margin {near[their] - near[our]:.2e} in float32, "
            f"{exact[their] - exact[our]:.2e} in float64; lapidary's the other way {shift:.2e}")


def margin_shifts(theirs, ours):
    """Per token of an answer that both gave, by how much lapidary's margin over its second best differs from Hugging Face's."""
    shifts = []
    for row, top in zip(theirs["rows"], ours["tops"]):
        (best, high), (second, low) = sorted(top.items(), key=lambda item: -item[1])[:2]
        shifts.append(abs(high - low - (row[best] - row[second]).item()))
    return shifts


def share(right, total):
    return f"{right} of {total} ({100 * right / total:.1f}%)"


def compare(ask, lists, reference, card):
    """Prints a row per task; returns the (question, Hugging Face's answer, lapidary's) that differ and those that do not."""
    different, equal = [], []
    print("| task | equal answers | Hugging Face right | lapidary right | model card |\n|---|---|---|---|---|")
    for task, questions in lists.items():
        found = [(q, theirs, ask(q)) for q, theirs in zip(questions, reference[task])]
        unequal = [pair for pair in found if pair[1]["ids"] != pair[2]["ids"]]
        right = [sum(pair[side]["text"] == pair[0]["answer"] for pair in found) for side in (1, 2)]
        print(f"| {task} | {share(len(found) - len(unequal), len(found))} | {share(right[0], len(found))} | "
              f"{share(right[1], len(found))} | {100 * card[task]:.1f}% |", flush=True)
        different += unequal
        equal += [pair for pair in found if pair[1]["ids"] == pair[2]["ids"]]
    return different, equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lapidary", type=pathlib.Path, required=True)
    parser.add_argument("--packed", type=pathlib.Path, nargs="+", required=True, help="folders that lapidary pack made of nano")
    parser.add_argument("--media", choices=TASKS, default="pictures")
    parser.add_argument("--most", type=int, help="questions of each task")
    options = parser.parse_args()
    lists = json.loads(LISTS.read_text(encoding="utf8"))
    lists = {task: lists[task][:options.most] for task in TASKS[options.media]}
    card = json.loads((MODEL / "slices.json").read_text(encoding="utf8"))["slices"][0]["accuracy"]
    asker = Asker(None, AutoProcessor.from_pretrained(MODEL))
    narrow, wide = load(torch.float32), load(torch.float64)
    reference = {task: ask_hugging_face(narrow, asker, task, questions) for task, questions in lists.items()}
    margins = [m for found in reference.values() for answer in found for m in hf.margins(answer["rows"], None)]
    print(f"{hf.versions()}, smallest margin of {len(margins)} tokens {min(margins):.2e}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        asked = [q for questions in lists.values() for q in questions]
        files = dict(zip(map(id, asked), make_files(asked, pathlib.Path(folder))))
        for packed in options.packed:
            dtype = json.loads((packed / "manifest.json").read_text(encoding="utf8"))["dtype"]
            print(f"\n{dtype}")
            different, equal = compare(lambda q: ask_lapidary(options.lapidary, packed, q, files[id(q)]),
                                       lists, reference, card)
            print(f"{len(equal)} of {len(equal) + len(different)} answers equal")
            if equal:
                shifts = [shift for _, theirs, ours in equal for shift in margin_shifts(theirs, ours)]
                print(f"margins of their {len(shifts)} tokens differ by {statistics.median(shifts):.1e} in the median, "
                      f"{max(shifts):.1e} at most")
            for pair in different:
                print(describe(wide, asker, *pair), flush=True)
            failed |= dtype == "f32" and bool(different)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
