"""Spoken words: clips by espeak-ng, kept as log-mel frames, and their augmentation.

    python tests/reference/nano/speech.py --out WORK/clips.pkl     # a minute on two cores

Every word of things.py is spoken by many voices, speeds and pitches. The HELD_OUT
voices are not among them: they ask the questions of heldout_lists.py. Frames are float16 [frames][128], as
Hugging Face's feature extractor makes them of the waveform.
"""

import argparse
import concurrent.futures
import io
import os
import pickle
import random
import subprocess
import wave
from dataclasses import dataclass

import numpy as np
from scipy.signal import resample_poly
from transformers import Gemma3nAudioFeatureExtractor

from things import LANGUAGES, THINGS

RATE = 16000
ESPEAK_RATE = 22050
MOST_FRAMES = 200  # longer clips are dropped: two seconds hold every word, and one shape compiles once
SILENT_FRAME = np.float32(-11.512925)  # ln 1e-5, the extractor's floor
ACCENTS = {"en": ("en-us", "en-gb", "en-gb-scotland"), "de": ("de",), "fr": ("fr-fr", "fr-be"), "es": ("es", "es-419"),
           "ru": ("ru",)}
TRAINED = ("", "+m1", "+m2", "+m3", "+m4", "+m6", "+m7", "+m8", "+f1", "+f2", "+f4", "+f5", "+Andy", "+steph", "+linda",
           "+Michael", "+pablo", "+Alex", "+Alicia", "+Andrea", "+Annie", "+Denis", "+Diogo", "+Gene", "+Hugo", "+Jacky",
           "+Lee", "+Marco", "+Storm", "+adam", "+anika", "+antonio", "+boris", "+caleb", "+max", "+paul", "+pedro", "+rob",
           "+sandro", "+victor", "+zac")
HELD_OUT = ("+f3", "+m5", "+Mario", "+belinda")


@dataclass(frozen=True)
class Clip:
    mel: np.ndarray  # float16 [frames][128]
    thing: int
    language: str


def speak(text, voice, words_per_minute, pitch):
    """The word as float32 samples at 16 kHz, without espeak's silence around it."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "--stdout", text]
    with wave.open(io.BytesIO(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)) as sound:
        assert sound.getframerate() == ESPEAK_RATE and sound.getnchannels() == 1
        # espeak streams, so the header's length is a placeholder: read all there is.
        samples = np.frombuffer(sound.readframes(2**28), dtype="<i2").astype(np.float32) / 32768
    samples = resample_poly(samples, 320, 441).astype(np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * max(1e-6, np.abs(samples).max()))
    return samples[max(0, loud[0] - 200):loud[-1] + 400]


def recording(rng, thing, language, held_out):
    """A clip as a microphone might have it: some level, some silence around, some noise. float32 at 16 kHz."""
    voice = rng.choice(ACCENTS[language]) + rng.choice(HELD_OUT if held_out else TRAINED)
    word = speak(THINGS[thing].names[language], voice, rng.randint(115, 190), rng.randint(25, 75))
    word = word * (rng.uniform(0.25, 1.0) / max(1e-3, np.abs(word).max()))
    silence = [np.zeros(int(rng.uniform(least, 0.3) * RATE), np.float32) for least in (0.0, 0.05)]
    samples = np.concatenate([silence[0], word, silence[1]])
    noise = np.random.RandomState(rng.getrandbits(31)).normal(0, 1, len(samples))
    if rng.random() < 0.5:  # coloured
        noise = np.convolve(noise, np.ones(8) / 3, "same")
    level = rng.choice((0, 1e-4, 1e-3, 3e-3, 8e-3)) * rng.uniform(0.3, 1)
    return (samples + noise * level).astype(np.float32)


def augmented(rng, mel, strength):
    """float32 frames with pitch, tempo, level, noise and band changed at random, each `strength` (0 to 1) times as often.

    With all of it from the first step the tower stays at chance for hundreds of steps.
    """
    mel = mel.astype(np.float32)
    if rng.random() < 0.5 * strength:
        mel = np.roll(mel, rng.randint(-3, 3), axis=1)
    if rng.random() < 0.5 * strength:
        count = min(MOST_FRAMES, max(20, int(len(mel) * rng.uniform(0.85, 1.18))))
        mel = mel[np.round(np.linspace(0, len(mel) - 1, count)).astype(int)]
    if rng.random() < 0.5 * strength:
        mel = np.maximum(mel + rng.uniform(-2.0, 1.0), SILENT_FRAME)
    if rng.random() < 0.4 * strength:
        floor = np.random.RandomState(rng.getrandbits(31)).normal(rng.uniform(-9, -3.5), 0.4, mel.shape)
        mel = np.logaddexp(mel, floor.astype(np.float32))
    if rng.random() < 0.4 * strength:
        first = rng.randint(0, 120)
        mel[:, first:first + rng.randint(2, 10)] = SILENT_FRAME if rng.random() < 0.5 else mel.mean()
    if rng.random() < 0.3 * strength:
        first = rng.randint(0, len(mel) - 8)
        mel[first:first + rng.randint(2, 6)] = mel.mean()
    if rng.random() < 0.3 * strength:
        mel[:, rng.randint(95, 105):] = SILENT_FRAME  # a telephone's band
    return mel


def _clips_of(job):
    """All clips of one word; a process of its own runs this."""
    thing, language, count = job
    extractor, clips = Gemma3nAudioFeatureExtractor(), []
    for number in range(count):
        rng = random.Random(f"clip {thing} {language} {number}")
        samples = recording(rng, thing, language, held_out=False)
        mel = extractor(samples, return_tensors="np")["input_features"][0]
        if len(mel) <= MOST_FRAMES:
            clips.append(Clip(mel.astype(np.float16), thing, language))
    return clips


def make_pool(count):
    """`count` clips of every word, in a fixed order."""
    jobs = [(thing, language, count) for thing in range(len(THINGS)) for language in LANGUAGES]
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as processes:
        return [clip for clips in processes.map(_clips_of, jobs) for clip in clips]


def load_pool(path):
    """The clips that main wrote."""
    with open(path, "rb") as file:
        return [Clip(*fields) for fields in pickle.load(file)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=48, help="clips of each word")
    options = parser.parse_args()
    clips = make_pool(options.count)
    with open(options.out, "wb") as file:
        pickle.dump([(c.mel, c.thing, c.language) for c in clips], file)
    print(f"{len(clips)} clips")


if __name__ == "__main__":
    main()
