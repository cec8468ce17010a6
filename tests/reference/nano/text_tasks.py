"""Text: translation of a word, a paragraph about a thing, and recall of one line out of many."""

from example import Example
from heldout import is_held_out
from things import LANGUAGES, PEOPLE, THINGS, paragraph

TRANSLATION_FORMS = ("Translate {word} to {language}.", "How do you say {word} in {language}?", "{word} in {language}?")
PARAGRAPH_FORMS = ("Tell me about the {word}.", "What is the {word}?", "Describe the {word}.", "What do you know about {word}?")
MOST_LINES = 70  # of a recall prompt: 70 lines are about 420 tokens


def translation(rng, held_out):
    """"Translate Hund to French." -> "chien"; split by (thing, source, target)."""
    while True:
        thing, (source, target) = rng.choice(THINGS), rng.sample(list(LANGUAGES), 2)
        item = (thing.english, source, target)
        if is_held_out("translation", *item, one_in=10) == held_out:
            form = rng.choice(TRANSLATION_FORMS)
            prompt = form.format(word=thing.names[source], language=LANGUAGES[target])
            return Example("translation", item, prompt, thing.names[target])


def about(rng, held_out):
    """"Tell me about the owl." (or "... about the Eule.") -> the paragraph; split by (thing, language, form)."""
    while True:
        thing, language, form = rng.choice(THINGS), rng.choice(list(LANGUAGES)), rng.choice(PARAGRAPH_FORMS)
        if is_held_out("paragraph", thing.english, language, form, one_in=8) == held_out:
            prompt = form.format(word=thing.names[language])
            return Example("paragraph", (thing.english, language, form), prompt, paragraph(thing))


def recall(rng, held_out, lines, questions=1):
    """`lines` sentences "Anna has the owl." and questions about them, one a turn.

    The sentences are drawn at random, so no two prompts are alike; in the last
    question, the one that counts, a person is never asked about with a thing of the
    other part: split by (person, thing).
    """
    while True:
        people = rng.sample(PEOPLE, lines)
        person, thing = rng.choice(people), rng.choice(THINGS)
        if is_held_out("recall", person, thing.english, one_in=10) == held_out:
            break
    owned = {p: thing if p == person else _seen_thing(rng, p) for p in people}
    story = " ".join(f"{p} has the {t.english}." for p, t in owned.items()) + " "
    asked = [*rng.choices([p for p in people if p != person] or people, k=questions - 1), person]
    turns = [(f"{story if i == 0 else ''}What does {p} have?", owned[p].english) for i, p in enumerate(asked)]
    return Example("recall", (person, thing.english), *turns[-1], before=tuple(turns[:-1]))


def _seen_thing(rng, person):
    """A thing that `person` may have in training."""
    while True:
        thing = rng.choice(THINGS)
        if not is_held_out("recall", person, thing.english, one_in=10):
            return thing


def conversation(rng, held_out):
    """A translation after one earlier turn, half of them with a system message too."""
    example, earlier = translation(rng, held_out), rng.choice((translation, about))(rng, False)
    system = rng.choice(("You are a helpful assistant.", "Be brief.", "Answer.", "", "", ""))
    before = ((earlier.prompt, earlier.answer),) if not system or rng.random() < 0.5 else ()
    return Example(example.task, example.item, example.prompt, example.answer, before=before, system=system)
