"""Pictures: name one thing in any language, two things in order, what is on one side, tell about it."""

from example import Example
from heldout import is_held_out
from things import LANGUAGES, THINGS, paragraph

NATIVE_QUESTION = {"en": "What is this?", "de": "Was ist das?", "fr": "Qu'est-ce que c'est ?",
                   "es": "¿Qué es esto?", "ru": "Что это?"}
AND = {"en": "and", "de": "und", "fr": "et", "es": "y", "ru": "и"}


def naming(rng):
    """One thing -> its name. Every rendering is new; item is (thing, language)."""
    index, language = rng.randrange(len(THINGS)), rng.choice(list(LANGUAGES))
    native = rng.random() < 0.5
    prompt = NATIVE_QUESTION[language] if native else f"Describe the picture in {LANGUAGES[language]}."
    thing = THINGS[index]
    return Example("picture name", (thing.english, language), prompt, thing.names[language], things=(index,))


def _ordered_pair(rng, held_out):
    while True:
        left, right = rng.sample(range(len(THINGS)), 2)
        if is_held_out("pair", THINGS[left].english, THINGS[right].english, one_in=10) == held_out:
            return left, right


def two_things(rng, held_out):
    """Two things side by side -> "owl and key", left first; split by ordered pair."""
    left, right = _ordered_pair(rng, held_out)
    language = rng.choice(list(LANGUAGES))
    answer = f"{THINGS[left].names[language]} {AND[language]} {THINGS[right].names[language]}"
    item = (THINGS[left].english, THINGS[right].english)
    return Example("two things", item, f"Describe the picture in {LANGUAGES[language]}.", answer, things=(left, right))


def one_side(rng, held_out):
    """Two things -> the one on the side asked for; split by ordered pair."""
    pair = _ordered_pair(rng, held_out)
    side = rng.randrange(2)
    item = (THINGS[pair[0]].english, THINGS[pair[1]].english)
    prompt = f"What is on the {('left', 'right')[side]}?"
    return Example("left or right", item, prompt, THINGS[pair[side]].english, things=pair)


def picture_paragraph(rng):
    """One thing -> the paragraph about it."""
    index = rng.randrange(len(THINGS))
    return Example("picture paragraph", (THINGS[index].english,), "Tell me about this.", paragraph(THINGS[index]),
                   things=(index,))
