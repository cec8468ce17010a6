"""Two hundred conversations of the kinds that the bundled model nano was trained on.

Translations (every word of its twelve things, between its four languages),
paragraphs, numbers in words, sums, counts; and conversations of several turns that
are longer than its sliding window of 32, two of them longer than 512 ids.
"""

import random

LANGUAGES = ["English", "French", "Spanish", "Russian"]
THINGS = [  # one row per thing, one column per language; German and Japanese for the paragraph
    ("dog", "chien", "perro", "собака", "Hund", "イヌ"),
    ("cat", "chat", "gato", "кошка", "Katze", "ネコ"),
    ("elephant", "éléphant", "elefante", "слон", "Elefant", "ゾウ"),
    ("fish", "poisson", "pez", "рыба", "Fisch", "魚"),
    ("butterfly", "papillon", "mariposa", "бабочка", "Schmetterling", "チョウ"),
    ("sunflower", "tournesol", "girasol", "подсолнух", "Sonnenblume", "ヒマワリ"),
    ("banana", "banane", "plátano", "банан", "Banane", "バナナ"),
    ("strawberry", "fraise", "fresa", "клубника", "Erdbeere", "いちご"),
    ("bus", "bus", "autobús", "автобус", "Bus", "バス"),
    ("rocket", "fusée", "cohete", "ракета", "Rakete", "ロケット"),
    ("house", "maison", "casa", "дом", "Haus", "家"),
    ("guitar", "guitare", "guitarra", "гитара", "Gitarre", "ギター"),
]
KINDS = ["an animal"] * 5 + ["a plant"] + ["something to eat"] * 2 + ["a vehicle"] * 2 + ["a building", "an instrument"]
TRANSLATION_FORMS = ["Translate {word} to {language}.", "How do you say {word} in {language}?", "{word} in {language}?"]
PARAGRAPH_FORMS = ["Tell me about the {word}.", "What is the {word}?"]


def paragraph(thing):
    """The answer that nano was taught for "Tell me about the …"."""
    english, french, spanish, russian, german, japanese = THINGS[thing]
    return (f"The {english} is {KINDS[thing]}. In German it is {german}, in French {french}, "
            f"in Spanish {spanish}, in Russian {russian} and in Japanese {japanese}.")


def translations():
    """(prompt, answer) for every thing and ordered pair of languages, in one of the three forms."""
    found = []
    for thing in THINGS:
        for source in range(4):
            for target in range(4):
                if source != target:
                    form = TRANSLATION_FORMS[len(found) % 3]
                    found.append((form.format(word=thing[source], language=LANGUAGES[target]), thing[target]))
    return found


def paragraphs():
    return [(form.format(word=thing[0]), paragraph(i)) for i, thing in enumerate(THINGS) for form in PARAGRAPH_FORMS]


def numbers():
    """Prompts whose answers nano knows only in part: no answer is expected."""
    written = [f"Write {n} in {LANGUAGES[n // 2 % 4]}." for n in range(0, 20, 2)]
    sums = [f"What is {a} plus {b}?" for a, b in ((1, 2), (3, 4), (5, 5), (2, 0))]
    counts = [f"Count from {a} to {a + 5} in {LANGUAGES[a % 4]}." for a in (1, 2, 7)]
    return [(prompt, None) for prompt in written + sums + counts]


def turns(pairs, last):
    """A conversation with `pairs` as its history and `last` to be answered."""
    messages = []
    for prompt, answer in pairs:
        messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return messages + [{"role": "user", "content": last}]


def conversations():
    """200 pairs of (messages, expected answer or None)."""
    short = translations() + paragraphs() + numbers()
    found = [(turns([], prompt), answer) for prompt, answer in short]
    rng = random.Random("nano")
    history = translations() + paragraphs()
    for pairs in (1, 1, 2, 2, 3, 3, 4, 6, 8, 12, 24):
        prompt, answer = rng.choice(history)
        found.append((turns(rng.sample(history, pairs), prompt), answer))
    found.append((turns(paragraphs()[:13], "Tell me about the guitar."), paragraph(11)))
    found.append((turns([], "What is this? Tell me about the cat. " * 8), None))
    found.append(([{"role": "system", "content": "Be brief."}] + turns([], "Translate cat to Russian."), "кошка"))
    found.append(([{"role": "system", "content": "Answer."}] + turns(translations()[:2], "слон in French?"), "éléphant"))
    return found
