"""The trained state as a Hugging Face folder in bf16, laid out as the published ones.

    python tests/reference/nano/export.py --work WORK --out deploy/models/nano
"""

import argparse
import pathlib
import shutil

import torch
from transformers import Gemma3nAudioFeatureExtractor, Gemma3nProcessor, SiglipImageProcessor

import tokenizer as vocabulary
from architecture import AUDIO_SOFT_TOKENS, IMAGE_SOFT_TOKENS, PICTURE_SIZE, fresh_model, restore_saveable_config


def trained_model(state_file):
    """The float32 model of a training state."""
    model = fresh_model(0)
    model.load_state_dict(torch.load(state_file, map_location="cpu", weights_only=True)["model"])
    model.tie_weights()
    return model


@torch.no_grad()
def publish(model):
    """bf16, and every embedding row past the text vocabulary a copy of the pad row, as Google's converter leaves them."""
    embeddings = model.model.language_model.embed_tokens.weight
    embeddings[vocabulary.TEXT_VOCABULARY:] = embeddings[vocabulary.PAD]
    restore_saveable_config(model)
    model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    return model


def save_processor(folder, tokenizer):
    """Gemma 3n's processor with nano's picture size and numbers of soft tokens."""
    pictures = SiglipImageProcessor(
        size={"height": PICTURE_SIZE, "width": PICTURE_SIZE}, resample=2, do_rescale=True, rescale_factor=1 / 255,
        do_normalize=False, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    Gemma3nProcessor(
        feature_extractor=Gemma3nAudioFeatureExtractor(), image_processor=pictures, tokenizer=tokenizer,
        chat_template=tokenizer.chat_template, audio_seq_length=AUDIO_SOFT_TOKENS, image_seq_length=IMAGE_SOFT_TOKENS,
    ).save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    publish(trained_model(options.work / "state.pt")).save_pretrained(options.out)
    shutil.copy(options.work / "tokenizer" / "tokenizer.model", options.out)
    save_processor(options.out, vocabulary.to_hugging_face(options.out))
    print(f"{sum(f.stat().st_size for f in options.out.iterdir())} bytes in {options.out}")


if __name__ == "__main__":
    main()
