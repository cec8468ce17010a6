"""Writes the figures of deploy/models/nano/README.md: accuracy by task and slice, training, twenty transcripts.

    python tests/reference/nano/model_card.py --answers W/answers.json --work W

Replaces what lies between the <!-- figures --> and <!-- end of figures --> lines.
"""

import argparse
import json
import pathlib
import random

from things import LANGUAGES, PEOPLE, THINGS

ROOT = pathlib.Path(__file__).parents[3]
CARD = ROOT / "deploy" / "models" / "nano" / "README.md"
START, END = "<!-- figures -->", "<!-- end of figures -->"
MODALITY = {"translation": "text", "paragraph": "text", "recall": "text", "picture name": "image", "two things": "image",
            "left or right": "image", "picture paragraph": "image", "transcription": "sound", "spoken translation": "sound"}
TRANSCRIPTS = 20
LEAST_WRONG = 6


def accuracy_table(slices, questions):
    """Rows are slices, columns tasks."""
    tasks = list(slices[0]["accuracy"])
    lines = ["| slice | FFN widths | layers left out | effective parameters | " + " | ".join(f"{t} ({MODALITY[t]})" for t in tasks) + " |",
             "|---" * (4 + len(tasks)) + "|"]
    for one in slices:
        widths = sorted(set(one["widths"]))
        width = str(widths[0]) if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
        skipped = ", ".join(map(str, one["skipped_layers"])) or "none"
        cells = [f"{one['accuracy'][t]:.1%}" for t in tasks]
        lines.append(f"| {one['name']} | {width} | {skipped} | {one['effective_parameters']:,} | " + " | ".join(cells) + " |")
    return "\n".join([f"Exact match on {questions} held-out questions a task, greedy, by Hugging Face's `generate()` in float32:", ""] + lines)


def cost_table(slices):
    """Rows are slices, columns tasks: what exact match is too coarse to show."""
    tasks = list(slices[0]["answer_nats"])
    lines = ["| slice | " + " | ".join(tasks) + " |", "|---" * (1 + len(tasks)) + "|"]
    lines += [f"| {one['name']} | " + " | ".join(f"{one['answer_nats'][t]:.3f}" for t in tasks) + " |" for one in slices]
    return "\n".join(["How sure each slice is: mean negative log-probability of the right answer, in nats (0 is certain), same questions:", ""] + lines)


def words():
    """The things in every language, and the people."""
    lines = ["| " + " | ".join(LANGUAGES.values()) + " |", "|---" * len(LANGUAGES) + "|"]
    lines += ["| " + " | ".join(thing.names.values()) + " |" for thing in THINGS]
    return "\n".join(["The words:", ""] + lines + ["", "The people: " + ", ".join(PEOPLE) + "."])


def training_table(log):
    """Steps and seconds of each kind of example, from the training's log."""
    sums = {}
    for line in log:
        for kind, (_, _, seconds, count) in line["practised"].items():
            steps, spent = sums.get(kind, (0, 0.0))
            sums[kind] = steps + count, spent + seconds * count
    lines = [f"Training took {log[-1]['step']:,} steps and {log[-1]['seconds'] / 60:.0f} minutes on two cores of a Zen 4 machine (no GPU).", "",
             "| kind of step | steps | seconds per step |", "|---|---|---|"]
    return "\n".join(lines + [f"| {kind} | {steps} | {spent / steps:.2f} |" for kind, (steps, spent) in sorted(sums.items())])


def asked(question):
    """The question in words, with what is seen or heard."""
    if "picture" in question:
        return f"[picture: {', '.join(THINGS[i].english for i in question['picture']['things'])}] {question['prompt']}"
    if "sound" in question:
        sound = question["sound"]
        return f"[{LANGUAGES[sound['language']]} voice: {THINGS[sound['thing']].names[sound['language']]}] {question['prompt']}"
    prompt = question["prompt"]
    return prompt if len(prompt) < 90 else f"{prompt[:40]} … {prompt[-32:]} ({prompt.count('.')} sentences)"


def transcripts(lists, answers):
    """Answers of the whole model, drawn at random, wrong ones among them where there are any."""
    rng = random.Random("transcripts")
    pairs = [(task, q, a) for task, questions in lists.items() for q, a in zip(questions, answers[task])]
    wrong = [p for p in pairs if p[1]["answer"] != p[2]]
    chosen = rng.sample(wrong, min(LEAST_WRONG, len(wrong)))
    right = [p for p in pairs if p[1]["answer"] == p[2]]
    tasks = [t for t in lists if any(p[0] == t for p in right)]
    while len(chosen) < TRANSCRIPTS:
        task = tasks[len(chosen) % len(tasks)]
        chosen.append(rng.choice([p for p in right if p[0] == task]))
    lines = [f"Twenty answers of `full`, {min(LEAST_WRONG, len(wrong))} wrong ones among them (of {len(wrong)} in {len(pairs)}):", "",
             "| asked | answered | |", "|---|---|---|"]
    for _, question, answer in sorted(chosen, key=lambda p: list(lists).index(p[0])):
        verdict = "" if question["answer"] == answer else f"wrong: {question['answer']}"
        lines.append(f"| {asked(question)} | {answer} | {verdict} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("--answers", "--work"):
        parser.add_argument(name, type=pathlib.Path, required=True)
    options = parser.parse_args()
    table = json.loads((CARD.parent / "slices.json").read_text(encoding="utf8"))
    lists = json.loads((ROOT / "tests" / "goldens" / "nano" / "heldout.json").read_text(encoding="utf8"))
    answers = json.loads(options.answers.read_text(encoding="utf8"))
    lines = map(json.loads, (options.work / "log.jsonl").read_text(encoding="utf8").splitlines())
    log = list({line["step"]: line for line in lines}.values())  # steps done again after a stop count once
    figures = "\n\n".join([accuracy_table(table["slices"], table["questions_per_task"]), cost_table(table["slices"]), training_table(log),
                           transcripts(lists, answers["full"]), words()])
    card = CARD.read_text(encoding="utf8")
    head, tail = card.split(START)[0], card.split(END)[1]
    CARD.write_text(f"{head}{START}\n{figures}\n{END}{tail}", encoding="utf8")


if __name__ == "__main__":
    main()
