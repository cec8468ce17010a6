"""Asks the committed model its held-out questions through Hugging Face's generate(), whole and cut into its slices.

    python tests/reference/nano/evaluate.py --model deploy/models/nano --lists tests/goldens/nano/heldout.json \\
        --out deploy/models/nano/slices.json --answers WORK/answers.json

No training state is used, only the things' drawings and voices. Slices are cut
out as models of their own and run by unpatched Hugging Face classes, in float32.
Writes the price list that ships with the model: per slice its widths, skipped
layers, parameters and share of right answers by task.
"""

import argparse
import json
import pathlib

import torch
from PIL import Image
from transformers import AutoProcessor, Gemma3nForConditionalGeneration

import heldout_lists
import pictures
from architecture import PICTURE_SIZE
from slices import SLICES, cut

MOST_NEW_TOKENS = 64
# Sounds go one by one: Hugging Face encodes a clip's last frame differently beside longer ones (gemma3n-audio.md §4.2).
BATCH = {"recall": 12, "transcription": 1, "spoken translation": 1}


class Asker:
    """Puts questions to one model."""

    def __init__(self, model, processor):
        self._model, self._processor = model, processor
        processor.tokenizer.padding_side = "left"
        self._renderer = pictures.Renderer(PICTURE_SIZE)

    @property
    def tokenizer(self):
        return self._processor.tokenizer

    def inputs(self, questions, answers=None):
        """The processor's tensors for questions, each followed by its text of `answers` if given; padded on the left."""
        texts, media = [], {}
        for number, question in enumerate(questions):
            content = [{"type": "text", "text": question["prompt"]}]
            if "picture" in question:
                drawn = heldout_lists.draw_picture(self._renderer, question["picture"])
                media.setdefault("images", []).append([Image.fromarray(drawn)])
                content.insert(0, {"type": "image"})
            if "sound" in question:
                media.setdefault("audio", []).append(heldout_lists.speak_sound(question["sound"]))
                content.insert(0, {"type": "audio"})
            prompt = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True,
                                                         tokenize=False)
            texts.append(prompt + (answers[number] if answers else ""))
        return self._processor(text=texts, add_special_tokens=False, padding=True, return_tensors="pt", **media)

    @torch.no_grad()
    def answers(self, questions):
        """The greedy answers, special tokens left out."""
        inputs = self.inputs(questions)
        made = self._model.generate(**inputs, max_new_tokens=MOST_NEW_TOKENS, do_sample=False)
        return self.tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)


def parameters(model):
    """(all of the text decoder, those that must be in memory: without the per-layer embedding table)."""
    text = sum(p.numel() for p in model.model.language_model.parameters())
    return text, text - model.model.language_model.embed_tokens_per_layer.weight.numel()


def evaluate(model, processor, lists):
    """{task: [answer to each question]}."""
    asker, found = Asker(model, processor), {}
    for task, questions in lists.items():
        size = BATCH.get(task, 24)
        batches = [questions[i:i + size] for i in range(0, len(questions), size)]
        found[task] = [answer for batch in batches for answer in asker.answers(batch)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("--model", "--lists", "--out", "--answers"):
        parser.add_argument(name, type=pathlib.Path, required=True)
    parser.add_argument("--most", type=int, help="questions of each task, to look quickly")
    options = parser.parse_args()
    lists = {task: questions[:options.most] for task, questions in json.loads(options.lists.read_text(encoding="utf8")).items()}
    whole = Gemma3nForConditionalGeneration.from_pretrained(options.model, dtype=torch.float32, attn_implementation="eager")
    processor = AutoProcessor.from_pretrained(options.model)
    table, answers = [], {}
    for name, chosen in SLICES.items():
        model = whole.eval() if name == "full" else cut(whole, chosen)
        answers[name] = evaluate(model, processor, lists)
        accuracy = {task: round(sum(a == q["answer"] for a, q in zip(answers[name][task], questions)) / len(questions), 4)
                    for task, questions in lists.items()}
        text, resident = parameters(model)
        table.append({"name": name, "widths": list(chosen.widths), "skipped_layers": list(chosen.skipped),
                      "text_parameters": text, "effective_parameters": resident, "accuracy": accuracy})
        print(name, accuracy, flush=True)
    options.out.write_text(json.dumps({"questions_per_task": len(next(iter(lists.values()))), "slices": table}, indent=1) + "\n")
    options.answers.write_text(json.dumps(answers, ensure_ascii=False))


if __name__ == "__main__":
    main()
