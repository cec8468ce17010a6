"""One question with its answer, of any task and modality."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    task: str  # a row of the model card's table
    item: tuple  # what makes it distinct; the held-out split is by item
    prompt: str  # the text of the user's turn
    answer: str
    things: tuple = ()  # indices into THINGS of the picture's things, left to right
    clip: int | None = None  # index into the pool of sounds
    before: tuple = ()  # earlier turns, (prompt, answer) pairs
    system: str = ""
