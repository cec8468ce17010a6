"""Every slice, cut out, saved and loaded by plain Hugging Face, must equal the masked parent, bit for bit in float32.

    python tests/reference/nano/check_slices.py --model deploy/models/nano
"""

import argparse
import json
import pathlib
import tempfile

import torch
from transformers import Gemma3nAudioFeatureExtractor, Gemma3nForConditionalGeneration

import architecture
import batches
import heldout_lists
import pictures
import slices
from example import Example


def inputs_of(folder):
    """Four padded batches: short text, recall, pictures, sounds."""
    batcher = batches.Batcher(folder)
    ask = {task: heldout_lists.questions(task)[:4] for task in ("translation", "recall", "picture name", "transcription")}
    found = []
    for task, questions in ask.items():
        examples = [Example(task, (), q["prompt"], q["answer"], things=tuple(q.get("picture", {}).get("things", ())),
                            clip=0 if "sound" in q else None) for q in questions]
        inputs, _ = batcher.text(examples)
        if "picture" in questions[0]:
            renderer = pictures.Renderer(architecture.PICTURE_SIZE)
            inputs["pixel_values"] = batches.pixel_values([heldout_lists.draw_picture(renderer, q["picture"]) for q in questions])
        if "sound" in questions[0]:
            extractor = Gemma3nAudioFeatureExtractor()
            sounds = [heldout_lists.speak_sound(q["sound"]) for q in questions]
            inputs |= batches.mel_inputs([extractor(s, return_tensors="np")["input_features"][0] for s in sounds])
        found.append(inputs)
    return found


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    folder = parser.parse_args().model

    def load(path):
        model = Gemma3nForConditionalGeneration.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        for parameter in model.parameters():  # out of the mapped file: kernels round otherwise for other alignments
            parameter.data = parameter.data.clone()
        return model

    inputs, parent, alone = inputs_of(folder), load(folder), {}
    for name, chosen in slices.SLICES.items():
        with tempfile.TemporaryDirectory() as saved:
            slices.cut(parent, chosen).save_pretrained(saved)
            config = json.loads(pathlib.Path(saved, "config.json").read_text())["text_config"]
            alone[name] = [load(saved)(**dict(i)).logits for i in inputs]
            print(f"{name}: {config['num_hidden_layers']} layers, widths {config['intermediate_size']}, "
                  f"{pathlib.Path(saved, 'model.safetensors').stat().st_size} bytes in float32")
    slices.make_sliceable(parent)  # patches the classes: only now
    for name, chosen in slices.SLICES.items():
        slices.select_slice(parent, chosen)
        worst = max((parent(**dict(i)).logits - a).abs().max().item() for i, a in zip(inputs, alone[name]))
        print(f"{name}: masked parent and cut checkpoint differ by at most {worst}")
        assert worst == 0.0


if __name__ == "__main__":
    main()
