"""Examples to tensors, in Hugging Face's input layout."""

import numpy as np
import torch
from transformers import AutoTokenizer

import tokenizer as vocabulary
from architecture import AUDIO_SOFT_TOKENS, IMAGE_SOFT_TOKENS
from speech import MOST_FRAMES, SILENT_FRAME

IGNORED = -100
PICTURE = "\n\n<start_of_image>" + "<image_soft_token>" * IMAGE_SOFT_TOKENS + "<end_of_image>\n\n"
SOUND = "\n\n<start_of_audio>" + "<audio_soft_token>" * AUDIO_SOFT_TOKENS + "<end_of_audio>\n\n"


class Batcher:
    """Tokenizes examples as the chat template and the processor would, and pads them on the right."""

    def __init__(self, folder):
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._known = {}

    def _ids(self, text):
        if len(text) > 1000:  # a long recall prompt, never seen again
            return self._tokenizer(text, add_special_tokens=False).input_ids
        if text not in self._known:
            self._known[text] = self._tokenizer(text, add_special_tokens=False).input_ids
        return self._known[text]

    def _turns(self, example):
        """[(prompt ids, answer ids)] of all turns; every answer is learnt."""
        media = PICTURE if example.things else SOUND if example.clip is not None else ""
        turns = [*example.before, (example.prompt, example.answer)]
        start = "<bos>" + "<start_of_turn>user\n" + (example.system + "\n\n" if example.system else "") + media
        found = []
        for number, (prompt, answer) in enumerate(turns):
            opening = start if number == 0 else "\n<start_of_turn>user\n"
            found.append((self._ids(f"{opening}{prompt}<end_of_turn>\n<start_of_turn>model\n"),
                          self._ids(answer) + [vocabulary.END_OF_TURN]))
        return found

    def text(self, examples):
        """(model inputs, labels [examples][longest], IGNORED but for answers)."""
        rows = []
        for example in examples:
            ids, labels = [], []
            for prompt, answer in self._turns(example):
                ids += prompt + answer
                labels += [IGNORED] * len(prompt) + answer
            rows.append((ids, labels))
        longest = max(len(ids) for ids, _ in rows)
        inputs = torch.full((len(rows), longest), vocabulary.PAD)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        targets = torch.full((len(rows), longest), IGNORED)
        for i, (ids, labels) in enumerate(rows):
            inputs[i, :len(ids)], mask[i, :len(ids)] = torch.tensor(ids), 1
            targets[i, :len(ids)] = torch.tensor(labels)
        return {"input_ids": inputs, "attention_mask": mask}, targets


def pixel_values(pictures):
    """float32 [pictures][3][size][size] in [0, 1] of uint8 pictures, as the processor rescales them."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def mel_inputs(mels):
    """input_features and input_features_mask of clips, padded to one shape with silence."""
    features = np.full((len(mels), MOST_FRAMES, 128), SILENT_FRAME)
    mask = np.zeros((len(mels), MOST_FRAMES), bool)
    for i, mel in enumerate(mels):
        features[i, :len(mel)], mask[i, :len(mel)] = mel, True
    return {"input_features": torch.from_numpy(features), "input_features_mask": torch.from_numpy(mask)}
