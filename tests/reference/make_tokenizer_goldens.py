"""Writes tests/goldens/tokenizer/: what Hugging Face's tokenizer makes of texts and ids.

    python tests/reference/make_tokenizer_goldens.py [--model deploy/models/nano]

scripts.json (full ids for texts in many scripts), random.jsonl (hashes of ids for
10,000 hard strings) and decode.json (ids to text). tests/goldens/README.md has
the formats. Bytes that are not UTF-8 count as Python's decode(errors="replace")
reads them: one U+FFFD for each maximal subpart of an ill-formed sequence.
"""

import argparse
import json
import pathlib
import random

import tokenizers
import transformers

from random_strings import Strings
from script_samples import SAMPLES
from tokenizer_reference import TokenizerReference, ids_hash

ROOT = pathlib.Path(__file__).parent.parent.parent
GOLDENS = ROOT / "tests" / "goldens" / "tokenizer"


def scripts(reference):
    """One case per sample, with full ids; `safe` only where it differs from `plain`."""
    cases = []
    for name, text in SAMPLES.items():
        case = {"name": name, "text": text, "plain": reference.plain(text)}
        safe = reference.safe(text)
        if safe != case["plain"]:
            case["safe"] = safe
        cases.append(case)
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    return {"versions": versions, "cases": cases}


def random_line(reference, value):
    """One line of random.jsonl: the string or its bytes, and count and hash of its ids."""
    line = {"hex": value.hex()} if isinstance(value, bytes) else {"text": value}
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    plain, safe = reference.plain(text), reference.safe(text)
    line["plain"] = [len(plain), ids_hash(plain)]
    if safe != plain:
        line["safe"] = [len(safe), ids_hash(safe)]
    return line


def decode_ids(reference):
    """Id lists: byte runs that are and are not UTF-8, special tokens, anything."""
    ids_of = reference.hf.get_vocab()
    all_ids = sorted(ids_of.values())
    bytes_at = ids_of["<0x00>"]

    def spelled(data):
        return [bytes_at + byte for byte in data]

    letter, bos, turn = ids_of["a"], ids_of["<bos>"], ids_of["<start_of_turn>"]
    lists = [
        [], [bos], [bos, letter], [turn, letter, bos, letter], [letter, ids_of["\u2581"], letter, ids_of["\u2581"]],
        spelled("象".encode()), spelled(b"\xe8\xb1"), [*spelled(b"\xe8\xb1"), letter],
        [*spelled(b"\xe8"), turn, *spelled(b"\xb1\xa1")], spelled("🐘".encode()) + spelled(b"\xf0\x9f"),
        spelled(b"\xff"), spelled(b"a\xffb"), spelled(b"\xc0\x80"), spelled(b"\xed\xa0\x80"), spelled(b"\xf4\x90\x80\x80"),
        spelled(b"abc"), spelled(b"\x00"), spelled("é".encode() * 3), [letter, *spelled(b"\xa9")], spelled(b"\n\t\r "),
        [ids_of["\n"], ids_of["\n\n"], letter, ids_of["\n\n\n\n"]],
    ]
    rng = random.Random("decode")
    for _ in range(300):
        ids = []
        for _ in range(rng.randint(1, 8)):
            kind = rng.random()
            if kind < 0.5:
                ids += rng.choices(all_ids, k=rng.randint(1, 4))
            elif kind < 0.75:
                ids += spelled(chr(rng.choice([rng.randint(0x80, 0xD7FF), rng.randint(0x10000, 0x10FFFF)])).encode())
            else:
                ids += spelled(rng.randbytes(rng.randint(1, 4)))
        lists.append(ids)
    return lists


def decode(reference):
    """Cases with both values of skip_special_tokens; `skipped` only where it differs."""
    cases = []
    for ids in decode_ids(reference):
        case = {"ids": ids, "text": reference.decode(ids, False)}
        skipped = reference.decode(ids, True)
        if skipped != case["text"]:
            case["skipped"] = skipped
        cases.append(case)
    return cases


def write_lines(path, values):
    path.write_text("".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) + "\n" for v in values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default=ROOT / "deploy" / "models" / "nano")
    reference = TokenizerReference(parser.parse_args().model)
    GOLDENS.mkdir(parents=True, exist_ok=True)
    (GOLDENS / "scripts.json").write_text(json.dumps(scripts(reference), ensure_ascii=False) + "\n")
    strings = Strings(reference.pieces, reference.added).all()
    write_lines(GOLDENS / "random.jsonl", [random_line(reference, s) for s in strings])
    (GOLDENS / "decode.json").write_text(json.dumps({"cases": decode(reference)}, ensure_ascii=False) + "\n")
    print(f"{len(SAMPLES)} samples, {len(strings)} random strings")


if __name__ == "__main__":
    main()
