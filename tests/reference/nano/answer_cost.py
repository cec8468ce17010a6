"""Adds to the price list how sure each slice is of the right answers: their mean negative log-probability, in nats.

    python tests/reference/nano/answer_cost.py --model deploy/models/nano --lists tests/goldens/nano/heldout.json \\
        --table deploy/models/nano/slices.json

Exact match is near its ceiling in every slice; the nats of a whole answer, end of
turn included, still tell them apart. Same questions, same cut-out models as evaluate.py.
"""

import argparse
import json
import pathlib

import torch
from transformers import AutoProcessor, Gemma3nForConditionalGeneration

from evaluate import BATCH, Asker
from slices import SLICES, cut

END = "<end_of_turn>"


@torch.no_grad()
def nats(model, asker, questions):
    """-log p(answer | question) of each question: a list of floats."""
    inputs = asker.inputs(questions, [q["answer"] + END for q in questions])
    lengths = [len(asker.tokenizer(q["answer"] + END, add_special_tokens=False).input_ids) for q in questions]
    logits = model(**inputs).logits
    found = []
    for row, ids, length in zip(logits, inputs["input_ids"], lengths):  # padded on the left: answers end the rows
        logprobs = torch.log_softmax(row[-length - 1:-1].double(), dim=-1)
        found.append(-logprobs.gather(1, ids[-length:, None]).sum().item())
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("--model", "--lists", "--table"):
        parser.add_argument(name, type=pathlib.Path, required=True)
    options = parser.parse_args()
    lists = json.loads(options.lists.read_text(encoding="utf8"))
    table = json.loads(options.table.read_text(encoding="utf8"))
    whole = Gemma3nForConditionalGeneration.from_pretrained(options.model, dtype=torch.float32, attn_implementation="eager")
    processor = AutoProcessor.from_pretrained(options.model)
    for row in table["slices"]:
        model = whole.eval() if row["name"] == "full" else cut(whole, SLICES[row["name"]])
        asker, row["answer_nats"] = Asker(model, processor), {}
        for task, questions in lists.items():
            size = BATCH.get(task, 24)
            found = [n for i in range(0, len(questions), size) for n in nats(model, asker, questions[i:i + size])]
            row["answer_nats"][task] = round(sum(found) / len(found), 4)
        print(row["name"], row["answer_nats"], flush=True)
    options.table.write_text(json.dumps(table, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
