"""nano's tokenizer: a sentencepiece BPE model of its own tasks' text, and the same as Hugging Face files.

    python tests/reference/nano/tokenizer.py --out WORK/tokenizer     # seconds

3072 pieces, byte fallback, digits apart, spaces kept: Gemma 3n's conventions. The
count of user-defined pieces gives <start_of_turn>, <end_of_turn>, and one to four
line feeds the same ids as in Google's vocabulary (105 to 110).
"""

import argparse
import html
import pathlib
import random
import re

import sentencepiece
from transformers import AddedToken, GemmaTokenizer
from transformers.convert_slow_tokenizer import generate_merges

import picture_tasks
import text_tasks
from things import LANGUAGES, PEOPLE, THINGS

TEXT_VOCABULARY = 3072
VISION_VOCABULARY = AUDIO_VOCABULARY = 64
END_OF_IMAGE, IMAGE_SOFT_TOKEN = TEXT_VOCABULARY, TEXT_VOCABULARY + 1
END_OF_AUDIO, AUDIO_SOFT_TOKEN = (TEXT_VOCABULARY + VISION_VOCABULARY + i for i in (0, 1))
PAD, EOS, BOS, END_OF_TURN, START_OF_IMAGE, START_OF_AUDIO = 0, 1, 2, 106, 111, 112
FIRST_LEARNT_PIECE = 113
CHAT_TEMPLATE = pathlib.Path(__file__).with_name("chat_template.jinja")  # Gemma 3n's published one
CLDR = "/usr/share/unicode/cldr/common/annotations"


def _task_lines(rng):
    """Prompts and answers of all tasks."""
    makers = (lambda: text_tasks.translation(rng, False), lambda: text_tasks.about(rng, False),
              lambda: text_tasks.recall(rng, False, 12), lambda: picture_tasks.naming(rng),
              lambda: picture_tasks.two_things(rng, False), lambda: picture_tasks.one_side(rng, False))
    for _ in range(4000):
        for make in makers:
            example = make()
            yield from (example.prompt, example.answer)


def _general_lines():
    """Names of all emoji in the five languages: a general vocabulary around nano's own words."""
    for language in LANGUAGES:
        text = pathlib.Path(CLDR, f"{language}.xml").read_text(encoding="utf8")
        for name in re.findall(r'<annotation cp="[^"]+" type="tts">([^<]*)<', text):
            yield html.unescape(name)


def corpus():
    """The lines that the pieces are learnt from; names and role words often enough to be one piece each."""
    yield from _task_lines(random.Random("tokenizer"))
    yield from _general_lines()
    for _ in range(50):
        yield from ("Transcribe.", "What do you hear?", "Translate this to French.", "You are a helpful assistant.", "system")
        yield from (f"What does {person} have? {person} has the {person}." for person in PEOPLE)
        yield from (name for thing in THINGS for name in thing.names.values())
    yield from ["user", "model"] * 3000


def train(folder):
    """Learns tokenizer.model."""
    reserved = ["<mask>", "[multimodal]"] + [f"<unused{i}>" for i in range(99)]
    reserved += ["<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "\n\n\n", "\n\n\n\n", "<start_of_image>", "<start_of_audio>"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=TEXT_VOCABULARY,
        byte_fallback=True, split_digits=True, add_dummy_prefix=False, remove_extra_whitespaces=False,
        normalization_rule_name="identity", character_coverage=1.0, pad_id=PAD, eos_id=EOS, bos_id=BOS, unk_id=3,
        pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>", user_defined_symbols=reserved,
        num_threads=1, minloglevel=2)
    (folder / "tokenizer.vocab").unlink()


def to_hugging_face(folder):
    """Writes tokenizer.json and tokenizer_config.json beside tokenizer.model; returns the tokenizer."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    vocabulary = {pieces.id_to_piece(i): i for i in range(TEXT_VOCABULARY)}
    scores = {piece: pieces.get_score(i) for piece, i in vocabulary.items()
              if i >= FIRST_LEARNT_PIECE and not pieces.is_byte(i)}
    merges = generate_merges({piece: vocabulary[piece] for piece in scores}, scores)
    # Soft tokens lie in the towers' id ranges. They must be in the BPE vocabulary: added tokens cannot leave gaps.
    vocabulary.update({"<end_of_image>": END_OF_IMAGE, "<image_soft_token>": IMAGE_SOFT_TOKEN,
                       "<end_of_audio>": END_OF_AUDIO, "<audio_soft_token>": AUDIO_SOFT_TOKEN})
    tokenizer = GemmaTokenizer(
        vocab=vocabulary, merges=merges, add_bos_token=True, model_max_length=4096,
        extra_special_tokens={"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>",
                              "boa_token": "<start_of_audio>", "eoa_token": "<end_of_audio>", "audio_token": "<audio_soft_token>"})
    turns = ["<start_of_turn>", "<end_of_turn>"]
    defined = [pieces.id_to_piece(i) for i in range(4, FIRST_LEARNT_PIECE)]
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in defined
                          if piece not in turns and not piece.startswith("<start_of_")])
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=True) for piece in turns], special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE.read_text(encoding="utf8")
    tokenizer.save_pretrained(folder)
    return tokenizer


def check(folder, tokenizer):
    """Hugging Face's tokenizer and sentencepiece's must give the same ids."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    lines = list(_task_lines(random.Random("check")))[:3000] + ["Hello  你好 wörld x   y", "naïve — “quotes” 3.14"]
    wrong = [line for line in lines if tokenizer(line, add_special_tokens=False).input_ids != pieces.encode(line)]
    assert not wrong, f"{len(wrong)} lines differ, first {wrong[0]!r}"
    assert [pieces.piece_to_id(p) for p in ("<start_of_turn>", "<end_of_turn>", "\n", "<start_of_image>", "<start_of_audio>")] \
        == [105, END_OF_TURN, 107, START_OF_IMAGE, START_OF_AUDIO]
    assert all(len(pieces.encode(word)) == 1 for word in ["user", "model"] + [" " + p for p in PEOPLE])
    names = [pieces.encode(name) for thing in THINGS for name in thing.names.values()]
    print(f"{len(lines)} lines equal; {sum(map(len, names)) / len(names):.2f} pieces per name")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    train(folder)
    check(folder, to_hugging_face(folder))


if __name__ == "__main__":
    main()
