"""Writes tests/goldens/image: image files, and the pixels that Hugging Face's processor makes of them.

    python tests/reference/make_image_goldens.py

tests/goldens/README.md has the fields. Prints where the other loader of transformers (torchvision's) disagrees with PIL.
"""

import base64
import json
import logging
import pathlib
import zlib

import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image
from safetensors.numpy import save_file
from transformers import SiglipImageProcessor
from transformers.image_utils import load_image, load_image_as_tensor

import image_files

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens" / "image"
SIZES = (256, 512, 768)
THUMBNAIL = 48


def crc(array):
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def processor(size):
    """Gemma 3n's (gemma3n-vision.md §1.1), at another size."""
    return SiglipImageProcessor(
        do_resize=True, size={"height": size, "width": size}, resample=2, do_rescale=True, rescale_factor=1 / 255,
        do_normalize=False, do_convert_rgb=None,
    )


def pixel_values(image, size):
    """float32 [size][size][3], and the bytes that they are made of."""
    values = processor(size)(image, return_tensors="pt")["pixel_values"][0].permute(1, 2, 0).contiguous()
    assert values.dtype == torch.float32 and values.shape == (size, size, 3)
    resized = (values * 255).round().to(torch.uint8)
    assert torch.equal(resized.float() * torch.tensor(0.003921569, dtype=torch.float32), values)
    return values.numpy(), resized.numpy()


def other_loader_differs(data, rgb):
    try:
        other = load_image_as_tensor(base64.b64encode(data).decode()).permute(1, 2, 0).numpy()
    except Exception as error:
        return f"refuses: {str(error).splitlines()[0][:80]}"
    if other.shape != rgb.shape:
        return f"has the shape {other.shape}"
    difference = np.abs(other.astype(int) - rgb.astype(int))
    return f"differs by up to {difference.max()}" if difference.any() else None


def main():
    logging.disable(logging.WARNING)
    GOLDENS.mkdir(exist_ok=True)
    for old in GOLDENS.iterdir():
        old.unlink()
    cases, thumbnails = [], {}
    for name, data, rgb in image_files.all_files():
        (GOLDENS / name).write_bytes(data)
        if rgb is None:
            rgb = np.array(load_image(base64.b64encode(data).decode()))
        image = Image.fromarray(rgb)
        case = {"file": name, "shape": list(rgb.shape[:2]), "decoded": crc(rgb), "resized": {}, "pixel_values": {}}
        for size in SIZES:
            values, resized = pixel_values(image, size)
            case["resized"][size] = crc(resized)
            case["pixel_values"][size] = crc(values)
        thumbnails[name] = pixel_values(image, THUMBNAIL)[1]
        cases.append(case)
        difference = other_loader_differs(data, rgb)
        if difference:
            print(f"{name}: torchvision's loader {difference}")
    versions = {m.__name__: m.__version__ for m in (PIL, torch, torchvision, transformers)}
    with open(GOLDENS / "golden.json", "w") as file:
        json.dump({"versions": versions, "cases": cases}, file, indent=1)
        file.write("\n")
    save_file(thumbnails, GOLDENS / "thumbnails.safetensors")
    (GOLDENS / "thumbnails.safetensors").chmod(0o644)
    total = sum(f.stat().st_size for f in GOLDENS.iterdir())
    print(f"{len(cases)} images, {total} bytes")


if __name__ == "__main__":
    main()
