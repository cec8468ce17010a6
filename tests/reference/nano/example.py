"""One question with its answer, of any task and modality."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    task: str  # a column of the model card's tables
    item: tuple  # what makes it distinct; texts and pairs of things are held out by it
    prompt: str  # the text of the user's turn
    answer: str
    things: tuple = ()  # indices into THINGS of the picture's things, left to right
    clip: int | None = None  # not None where a sound is heard
    before: tuple = ()  # earlier turns, (prompt, answer) pairs
    system: str = ""
