"""What a training step practises: one kind of example per step, more of it while it is not yet mastered."""

import batches
import objectives
import picture_tasks
import pictures
import speech
import speech_tasks
import text_tasks
from architecture import PICTURE_SIZE
from slices import SLICES, random_mix, select_slice

AUXILIARY_WEIGHT = 0.35
# Examples of a step, and the weight of each kind before and after the towers have left their plateau.
SIZES = {"translation": 64, "conversation": 16, "paragraph": 20, "recall": 10, "picture": 24, "picture paragraph": 12, "sound": 32,
         "vision tower": 32, "audio tower": 32}
FIRST_TOWERS = {"translation": 2.0, "conversation": 0.2, "paragraph": 0.4, "recall": 2.0, "vision tower": 2.5,
                "audio tower": 5.0}
ALL_TOGETHER = {"translation": 1.2, "conversation": 0.2, "paragraph": 0.5, "recall": 2.5, "picture": 3.5, "picture paragraph": 0.15, "sound": 3.0,
                "vision tower": 0.8, "audio tower": 0.8}
TOWERS_UNTIL = 0.2  # of the whole run
FIRST_LINES = 2  # of a recall prompt
SLICE_SHARES = {"full": 0.45, "e2b": 0.25, "mix": 0.2, "half": 0.1}


def weights(progress, mastery):
    """How often each kind is drawn; a kind whose answers are 99 % right still gets a fifth of its weight."""
    base = FIRST_TOWERS if progress < TOWERS_UNTIL else ALL_TOGETHER
    return {kind: weight * min(1.0, max(0.2, (1 - mastery.get(kind, 0.0)) / 0.08)) for kind, weight in base.items()}


def draw_slice(rng):
    name = rng.choices(list(SLICE_SHARES), list(SLICE_SHARES.values()))[0]
    return random_mix(rng) if name == "mix" else SLICES[name]


def updated_mastery(mastery, kind, accuracy):
    """Running accuracy per kind; a recall prompt gets some 1.5 times as many lines each time six answers in seven are right."""
    mastery = {**mastery, kind: 0.95 * mastery.get(kind, 0.0) + 0.05 * accuracy}
    if kind == "recall" and mastery[kind] > 0.85 and mastery.get("lines", FIRST_LINES) < text_tasks.MOST_LINES:
        mastery["lines"] = min(text_tasks.MOST_LINES, 1 + 1.5 * mastery.get("lines", FIRST_LINES))
        mastery[kind] = 0.75
    return mastery


class Lessons:
    """Draws steps of examples for one worker and computes their losses."""

    def __init__(self, model, heads, tokenizer_folder, clips, workers):
        self._model, self._heads, self._workers = model, heads, workers
        self._device = next(model.parameters()).device
        self._batcher = batches.Batcher(tokenizer_folder)
        self._renderer = pictures.Renderer(PICTURE_SIZE)
        self._clips = clips

    def loss(self, kind, rng, chosen, progress, lines):
        """(loss, right answers [examples]) of this worker's share of a step."""
        select_slice(self._model, chosen)
        count = max(1, SIZES[kind] // self._workers)
        if kind in ("translation", "conversation", "paragraph", "recall"):
            return self._text(kind, rng, count, lines)
        if "picture" in kind or "vision" in kind:
            return self._picture(kind, rng, count, progress)
        return self._sound(kind, rng, count, progress)

    def _text(self, kind, rng, count, most_lines):
        if kind in ("translation", "conversation"):
            make = text_tasks.translation if kind == "translation" else text_tasks.conversation
            examples = [make(rng, False) for _ in range(count)]
        elif kind == "paragraph":
            examples = [text_tasks.about(rng, False) for _ in range(count)]
        else:
            lines = 1 + int((most_lines - 1) * rng.random() ** 0.5)  # long ones oftener; one length per step: nothing is padded
            examples = [text_tasks.recall(rng, False, lines) for _ in range(count)]
        inputs, labels = self._batcher.text(examples)
        loss, right, _ = objectives.answer_loss(self._model, self._to_device(inputs), labels.to(self._device))
        return loss, right

    def _picture(self, kind, rng, count, progress):
        easy = max(0.15, 0.8 - 2.0 * progress)
        examples = [self._picture_example(kind, rng, progress) for _ in range(count)]
        drawn = [self._renderer.render(rng, e.things, rng.random() < easy) for e in examples]
        pixels = batches.pixel_values(drawn).to(self._device)
        if kind == "vision tower":
            return self._heads.picture_loss(self._model.model.get_image_features(pixels), examples)
        inputs, labels = self._batcher.text(examples)
        inputs["pixel_values"] = pixels
        loss, right, outputs = objectives.answer_loss(self._model, self._to_device(inputs), labels.to(self._device))
        auxiliary, _ = self._heads.picture_loss(outputs.image_outputs, examples)
        return loss + AUXILIARY_WEIGHT * auxiliary, right

    @staticmethod
    def _picture_example(kind, rng, progress):
        if kind == "picture paragraph":
            return picture_tasks.picture_paragraph(rng)
        pairs = 0.0 if progress < 0.08 else 0.2 if progress < TOWERS_UNTIL else 0.45
        if rng.random() >= pairs:
            return picture_tasks.naming(rng)
        return picture_tasks.two_things(rng, False) if rng.random() < 0.7 else picture_tasks.one_side(rng, False)

    def _sound(self, kind, rng, count, progress):
        chosen = [rng.randrange(len(self._clips)) for _ in range(count)]
        clips = [self._clips[i] for i in chosen]
        strength = min(1.0, max(0.1, progress / 0.4))
        inputs = self._to_device(batches.mel_inputs([speech.augmented(rng, clip.mel, strength) for clip in clips]))
        if kind == "audio tower":
            heard = self._model.model.get_audio_features(inputs["input_features"], ~inputs["input_features_mask"])
            return self._heads.word_loss(heard, clips)
        makers = (speech_tasks.transcription, speech_tasks.spoken_translation)
        examples = [rng.choice(makers)(rng, i, clip.thing, clip.language) for i, clip in zip(chosen, clips)]
        text, labels = self._batcher.text(examples)
        loss, right, outputs = objectives.answer_loss(self._model, {**self._to_device(text), **inputs},
                                                      labels.to(self._device))
        auxiliary, _ = self._heads.word_loss(outputs.audio_outputs, clips)
        return loss + AUXILIARY_WEIGHT * auxiliary, right

    def _to_device(self, inputs):
        return {name: tensor.to(self._device) for name, tensor in inputs.items()}
