"""Hugging Face's tokenizer of a model folder, in the two ways that Lapidary encodes text.

plain  what `tokenizer(text, add_special_tokens=False)` gives: the names of control
       tokens inside a text are the tokens.
safe   for what a user wrote: the names of control tokens are characters like any
       others, while newline runs and other added tokens that stand for text still
       match. Made with the same Rust code (`encode_special_tokens`) on a copy of
       tokenizer.json in which every control token has the flag `special`.
"""

import json
import pathlib
import re

from tokenizers import Tokenizer
from transformers import AutoTokenizer

# Names that Gemma reserves to steer the model but does not flag as special.
CONTROL_NAME = re.compile(r"<mask>|\[multimodal\]|<unused\d+>|<start_of_\w+>|<end_of_\w+>|<(image|audio)_soft_token>")


class TokenizerReference:
    def __init__(self, folder):
        self.hf = AutoTokenizer.from_pretrained(folder)
        raw = json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
        for token in raw["added_tokens"]:
            token["special"] = token["special"] or bool(CONTROL_NAME.fullmatch(token["content"]))
        self._safe = Tokenizer.from_str(json.dumps(raw))
        self._safe.encode_special_tokens = True
        self.added = [token["content"] for token in raw["added_tokens"]]
        self.pieces = list(raw["model"]["vocab"])

    def plain(self, text):
        return self.hf(text, add_special_tokens=False).input_ids

    def safe(self, text):
        return self._safe.encode(text, add_special_tokens=False).ids

    def decode(self, ids, skip_special_tokens):
        return self.hf.decode(ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False)


def ids_hash(ids):
    """FNV-1a, 64 bits, over each id as four little-endian bytes; 16 hex digits."""
    h = 0xCBF29CE484222325
    for i in ids:
        for byte in i.to_bytes(4, "little"):
            h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"
