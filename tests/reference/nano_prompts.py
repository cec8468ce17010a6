"""Two hundred conversations of the kinds that the bundled model nano was trained on.

Translations, paragraphs and recall prompts, held-out ones among them; conversations
of several turns that are longer than its sliding window of 32; with the recall
prompts, more than a dozen longer than 300 ids and some longer than 512.
"""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "nano"))

import text_tasks  # noqa: E402
from things import THINGS, paragraph  # noqa: E402


def turns(pairs, last):
    """A conversation with `pairs` as its history and `last` to be answered."""
    messages = []
    for prompt, answer in pairs:
        messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return messages + [{"role": "user", "content": last}]


def pair(example):
    return example.prompt, example.answer


def single_turns(rng):
    """(prompt, answer) of 110 translations, 50 paragraphs and 20 recall prompts, half of them held out."""
    found = [pair(text_tasks.translation(rng, i % 2 == 0)) for i in range(110)]
    found += [pair(text_tasks.about(rng, i % 2 == 0)) for i in range(50)]
    for i, lines in enumerate((2, 3, 5, 8, 12, 20, 30, 40, 50, 52, 54, 58, 60, 62, 64, 65, 66, 67, 68, 69)):
        found.append(pair(text_tasks.recall(rng, i % 2 == 0, lines)))
    return found


def conversations():
    """200 pairs of (messages, expected answer or None)."""
    rng = random.Random("nano")
    found = [(turns([], prompt), answer) for prompt, answer in single_turns(rng)]
    about = [(f"Tell me about the {thing.english}.", paragraph(thing)) for thing in THINGS]
    history = [pair(text_tasks.translation(rng, False)) for _ in range(40)] + about
    for earlier in (1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 8, 12, 24):
        prompt, answer = rng.choice(history)
        found.append((turns(rng.sample(history, earlier), prompt), answer))
    story, thing = pair(text_tasks.recall(rng, True, 64))
    found.append((turns(about[:5], story), thing))
    found.append((turns(about[:15], "Tell me about the chair."), paragraph(THINGS[-1])))
    found.append((turns([], "What is this? Tell me about the cat. " * 12), None))
    found.append((turns([], "Hello! How are you?"), None))
    found.append(([{"role": "system", "content": "Be brief."}] + turns([], "Translate cat to Russian."), "кошка"))
    found.append(([{"role": "system", "content": "Answer."}] + turns(history[:2], "свеча in French?"), "bougie"))
    return found
