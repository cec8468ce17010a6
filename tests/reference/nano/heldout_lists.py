"""The held-out questions of every task, by seed: the lists behind the model card's figures.

    python tests/reference/nano/heldout_lists.py --out tests/goldens/nano/heldout.json

Per task 240 questions over at least 50 distinct items (paragraphs about pictures: 32). A picture is named by its
things and the seed it is drawn from, a sound by its word and the number of the
held-out recording, so that the file stays small and every run sees the same ones.
"""

import argparse
import json
import pathlib
import random

import picture_tasks
import speech
import speech_tasks
import text_tasks
from things import LANGUAGES, THINGS

QUESTIONS = 240
LEAST_ITEMS = 50
RECALL_LINES = (56, 69)  # 308 to 373 tokens
RECORDINGS = 4  # held-out recordings of a word


def recording_seed(thing, language, number):
    return f"held-out clip {thing} {language} {number}"


def picture_seed(task, number):
    return f"held-out picture {task} {number}"


def _spoken(maker):
    def draw(rng):
        thing, language = rng.randrange(len(THINGS)), rng.choice(list(LANGUAGES))
        return maker(rng, 0, thing, language), {"thing": thing, "language": language, "number": rng.randrange(RECORDINGS)}
    return draw


def _drawn(maker):
    return lambda rng: (maker(rng), None)


def _unshared(maker):
    """Held-out examples without words that two languages share: "train" is held out as English and trained as French."""
    spellings = [name for thing in THINGS for name in thing.names.values()]
    shared = {name for name in spellings if spellings.count(name) > 1}

    def draw(rng):
        while True:
            example = maker(rng, True)
            if not any(word in shared for word in example.prompt.strip(".?").split()):
                return example
    return draw


TASKS = {
    "translation": _drawn(_unshared(text_tasks.translation)),
    "paragraph": _drawn(_unshared(text_tasks.about)),
    "recall": _drawn(lambda rng: text_tasks.recall(rng, True, rng.randint(*RECALL_LINES))),
    "picture name": _drawn(picture_tasks.naming),
    "two things": _drawn(lambda rng: picture_tasks.two_things(rng, True)),
    "left or right": _drawn(lambda rng: picture_tasks.one_side(rng, True)),
    "picture paragraph": _drawn(picture_tasks.picture_paragraph),
    "transcription": _spoken(speech_tasks.transcription),
    "spoken translation": _spoken(speech_tasks.spoken_translation),
}


def questions(task):
    """The task's held-out questions, each {"prompt", "answer"} and "picture" or "sound" where there is one."""
    rng = random.Random(f"held-out {task}")
    found, items = [], set()
    for number in range(QUESTIONS):
        example, sound = TASKS[task](rng)
        items.add(example.item)
        question = {"prompt": example.prompt, "answer": example.answer}
        if example.things:
            question["picture"] = {"things": list(example.things), "seed": picture_seed(task, number)}
        if sound:
            question["sound"] = sound
        found.append(question)
    assert task == "picture paragraph" or len(items) >= LEAST_ITEMS, f"{task}: {len(items)} distinct items"
    return found


def draw_picture(renderer, picture):
    """uint8 [size][size][3] of a question's picture."""
    return renderer.render(random.Random(picture["seed"]), picture["things"])


def speak_sound(sound):
    """float32 samples at 16 kHz of a question's sound."""
    rng = random.Random(recording_seed(sound["thing"], sound["language"], sound["number"]))
    return speech.recording(rng, sound["thing"], sound["language"], held_out=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    lists = {task: questions(task) for task in TASKS}
    body = json.dumps(lists, ensure_ascii=False, separators=(",", ":")).replace('{"prompt"', '\n{"prompt"')
    parser.parse_args().out.write_text(body + "\n", encoding="utf8")
    for task, found in lists.items():
        print(f"{task}: {len(found)} questions, {len({json.dumps(q) for q in found})} distinct")


if __name__ == "__main__":
    main()
