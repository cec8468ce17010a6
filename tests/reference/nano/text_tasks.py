"""Text: translation of a word, a paragraph about a thing, and recall of one sentence out of many."""

from example import Example
from heldout import is_held_out
from things import LANGUAGES, PEOPLE, THINGS, paragraph

TRANSLATION_FORMS = ("Translate {word} to {language}.", "How do you say {word} in {language}?", "{word} in {language}?")
PARAGRAPH_FORMS = ("Tell me about the {word}.", "What is the {word}?", "Describe the {word}.", "What do you know about {word}?")
MOST_LINES = 69  # of a recall prompt: with what to remember, 373 tokens


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


def recall(rng, held_out, lines):
    """"Anna has the owl. Remember the key. Ben has the dog. … What should you remember?" -> "key".

    One sentence to remember somewhere among `lines` others, drawn at random, so that
    no two prompts are alike; split by (thing, lines, position).
    """
    while True:
        thing, position = rng.choice(THINGS), rng.randint(0, lines)
        item = (thing.english, lines, position)
        if is_held_out("recall", *item, one_in=10) == held_out:
            break
    story = [f"{person} has the {rng.choice(THINGS).english}." for person in rng.sample(PEOPLE, lines)]
    story.insert(position, f"Remember the {thing.english}.")
    return Example("recall", item, " ".join(story) + " What should you remember?", thing.english)


def conversation(rng, held_out):
    """A translation after an earlier turn, a system message, or both."""
    example, earlier = translation(rng, held_out), rng.choice((translation, about))(rng, False)
    system = rng.choice(("You are a helpful assistant.", "Be brief.", "Answer.", "", "", ""))
    before = ((earlier.prompt, earlier.answer),) if not system or rng.random() < 0.5 else ()
    return Example(example.task, example.item, example.prompt, example.answer, before=before, system=system)
