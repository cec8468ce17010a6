"""Spoken words: write down what was said, or translate it. Items are (thing, language); voices are split in speech.py."""

from example import Example
from things import LANGUAGES, THINGS


def transcription(rng, clip, thing, spoken):
    """`clip` says the name of THINGS[thing] in language `spoken` -> that name."""
    prompt = rng.choice(("Transcribe.", "What do you hear?"))
    name = THINGS[thing].names[spoken]
    return Example("transcription", (THINGS[thing].english, spoken), prompt, name, clip=clip)


def spoken_translation(rng, clip, thing, spoken):
    """`clip` says the name of THINGS[thing] in language `spoken` -> its name in another language."""
    target = rng.choice([language for language in LANGUAGES if language != spoken])
    prompt = f"Translate this to {LANGUAGES[target]}."
    item = (THINGS[thing].english, spoken, target)
    return Example("spoken translation", item, prompt, THINGS[thing].names[target], clip=clip)
