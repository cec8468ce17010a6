"""Image files of every kind that a client may send, made from numbers alone.

`all_files()` gives (name, bytes, rgb): `rgb` is None where PIL is the reference, and the expected [height][width][3]
where it is not (16-bit samples, whose high byte counts).
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def picture(height, width, seed, noise=8.0):
    """uint8 [height][width][3]: slow colour waves, hard edges, some noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for _ in range(3):
        fx, fy, phase = random.uniform(1, 6, 3)
        wave = 127 + 90 * np.sin(6.283 * (fx * x / width + fy * y / height) + phase)
        edges = 60 * ((x * fy // max(width / 6, 1) + y * fx // max(height / 6, 1)) % 2)
        channels.append(wave + edges - 30 + random.normal(0, noise, (height, width)))
    return np.clip(np.stack(channels, axis=2), 0, 255).astype(np.uint8)


def noise(height, width, channels, seed, high=256):
    shape = (height, width, channels)
    return np.random.RandomState(seed).randint(0, high, shape).astype(np.uint8 if high <= 256 else np.uint16)


def save(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation, order=">"):
    """A TIFF block with the tag Orientation alone."""
    mark = b"MM" if order == ">" else b"II"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 1) + entry + struct.pack(order + "I", 0)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_rows(samples, depth, filters):
    """Filtered scanlines of samples [height][width][channels]; PNG's filter types 0 to 2 in turn if `filters`."""
    height, width, channels = samples.shape
    values = samples.reshape(height, width * channels)
    if depth == 16:
        packed = values.astype(">u2").view(np.uint8).reshape(height, -1)
    else:
        bits = (values[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    step = max(1, channels * depth // 8)
    before = np.zeros_like(packed[0])
    out = []
    for row, line in enumerate(packed):
        kind = row % 3 if filters else 0
        left = np.concatenate([np.zeros(step, np.uint8), line[:-step]])[: len(line)]
        out.append(bytes([kind]) + (line - [0, left, before][kind]).astype(np.uint8).tobytes())
        before = line
    return b"".join(out)


def png(samples, depth, color_type, before=b"", interlaced=False, after=b""):
    """A PNG file of samples [height][width][channels] as they are; chunks before and after the pixels."""
    height, width, _ = samples.shape
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced)))
    if interlaced:
        passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(png_rows(part, depth, True) for part in passes if part.size)
    else:
        raw = png_rows(samples, depth, True)
    pixels = zlib.compress(raw, 9)
    # Two IDAT chunks, as large files have many.
    half = len(pixels) // 2
    body = chunk(b"IDAT", pixels[:half]) + chunk(b"IDAT", pixels[half:])
    return b"\x89PNG\r\n\x1a\n" + header + before + body + after + chunk(b"IEND", b"")


def png_files():
    palette = chunk(b"PLTE", noise(1, 200, 3, 1).tobytes())
    small_palette = chunk(b"PLTE", noise(1, 4, 3, 2).tobytes())
    clear = chunk(b"tRNS", bytes([0, 128, 255]))
    grey8 = noise(41, 37, 1, 3)
    rgba = np.concatenate([picture(60, 90, 4), noise(60, 90, 1, 5)], axis=2)
    wide = noise(23, 31, 4, 6, 65536)
    high = (wide >> 8).astype(np.uint8)

    def grey(samples):
        return np.repeat(samples[:, :, :1], 3, axis=2)

    yield "grey1", png(noise(40, 33, 1, 7, 2), 1, 0), None
    yield "grey2", png(noise(40, 33, 1, 8, 4), 2, 0), None
    yield "grey4", png(noise(40, 33, 1, 9, 16), 4, 0), None
    yield "grey8", png(grey8, 8, 0), None
    yield "grey8_clear", png(grey8, 8, 0, before=chunk(b"tRNS", struct.pack(">H", 77))), None
    yield "grey16", png(wide[:, :, :1], 16, 0), grey(high)
    yield "grey_alpha8", png(noise(30, 50, 2, 10), 8, 4), None
    yield "grey_alpha16", png(wide[:, :, :2], 16, 4), grey(high)
    yield "rgb8", save(Image.fromarray(picture(200, 300, 11)), "PNG", optimize=True), None
    yield "rgb8_clear", png(picture(20, 30, 12), 8, 2, before=chunk(b"tRNS", struct.pack(">HHH", 9, 9, 9))), None
    yield "rgb16", png(wide[:, :, :3], 16, 2), high[:, :, :3]
    yield "rgba8", png(rgba, 8, 6), None
    yield "rgba16", png(wide, 16, 6), high[:, :, :3]
    yield "palette1", png(noise(40, 33, 1, 13, 2), 1, 3, before=small_palette), None
    yield "palette2", png(noise(40, 33, 1, 14, 4), 2, 3, before=small_palette + clear), None
    yield "palette4", png(noise(40, 33, 1, 15, 16), 4, 3, before=palette), None
    yield "palette8_clear", png(noise(40, 33, 1, 16, 200), 8, 3, before=palette + clear), None
    yield "palette8_short", png(noise(40, 33, 1, 17, 256), 8, 3, before=palette), None
    yield "adam7_rgb8", png(picture(53, 61, 18), 8, 2, interlaced=True), None
    yield "adam7_rgba16", png(wide, 16, 6, interlaced=True), high[:, :, :3]
    yield "adam7_grey1", png(noise(35, 29, 1, 19, 2), 1, 0, interlaced=True), None
    yield "adam7_palette4", png(noise(35, 29, 1, 20, 16), 4, 3, before=palette, interlaced=True), None
    yield "adam7_tiny", png(noise(3, 1, 3, 21), 8, 2, interlaced=True), None
    yield "exif6", png(picture(40, 70, 22), 8, 2, before=chunk(b"eXIf", exif(6))), None
    yield "exif8_last", png(picture(40, 70, 23), 8, 2, after=chunk(b"eXIf", exif(8, "<"))), None
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tEXt", b"Comment\0ignored")
    yield "gamma", png(picture(40, 70, 24), 8, 2, before=gamma), None
    frames = [Image.fromarray(picture(48, 48, seed)) for seed in (25, 26)]
    yield "animated", save(frames[0], "PNG", save_all=True, append_images=frames[1:]), None
    for height, width in ((1, 1), (1, 50), (50, 1), (7, 1000), (1000, 7), (2, 3), (256, 256)):
        yield f"{height}x{width}", png(picture(height, width, height + 7 * width, 0.0), 8, 2), None


def jpeg_files():
    def jpeg(height, width, seed, **options):
        return save(Image.fromarray(picture(height, width, seed)), "JPEG", **options)

    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield name, jpeg(121, 163, 30, quality=90, subsampling=subsampling), None
    yield "progressive", jpeg(150, 201, 31, quality=80, progressive=True), None
    yield "progressive_444", jpeg(99, 64, 32, quality=95, progressive=True, subsampling=0), None
    yield "restarts", jpeg(90, 130, 33, quality=70, restart_marker_blocks=3), None
    yield "quality5", jpeg(120, 120, 34, quality=5), None
    yield "quality100", jpeg(50, 60, 35, quality=100), None
    yield "rgb", jpeg(50, 61, 36, quality=90, keep_rgb=True), None
    yield "grey", save(Image.fromarray(picture(77, 45, 37)).convert("L"), "JPEG", quality=85), None
    cmyk = np.concatenate([picture(49, 67, 38), noise(49, 67, 1, 39, 120)], axis=2)
    yield "cmyk", save(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=90), None
    cmyk_bytes = save(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=90, subsampling=2)
    # Adobe's marker ends with the transform: 2 declares the same channels to be YCCK.
    end_of_adobe = cmyk_bytes.index(b"Adobe") + 11
    yield "ycck", cmyk_bytes[:end_of_adobe] + b"\x02" + cmyk_bytes[end_of_adobe + 1 :], None
    for orientation in range(1, 9):
        block = b"Exif\0\0" + exif(orientation, "<>"[orientation % 2])
        yield f"exif{orientation}", jpeg(32, 47, 40, quality=85, exif=block), None
    yield "exif9", jpeg(32, 47, 40, quality=85, exif=b"Exif\0\0" + exif(9)), None
    yield "1x1", jpeg(1, 1, 41, quality=85), None
    yield "3x500", jpeg(3, 500, 42, quality=85), None
    yield "17x13", jpeg(17, 13, 43, quality=85), None
    yield "900x1200", save(Image.fromarray(picture(900, 1200, 44, 3.0)), "JPEG", quality=60), None
    yield "769x767", jpeg(769, 767, 47, quality=50), None
    yield "2016x3024", save(Image.fromarray(picture(2016, 3024, 45, 1.0)), "JPEG", quality=30), None
    yield "extraneous", jpeg(40, 40, 46, quality=85) + b"after the end", None


def webp_files():
    rgba = np.concatenate([picture(70, 95, 50), noise(70, 95, 1, 51)], axis=2)
    with_alpha = Image.fromarray(rgba)
    plain = Image.fromarray(picture(133, 97, 52))
    yield "lossy", save(plain, "WEBP", quality=75), None
    yield "lossy_10", save(plain, "WEBP", quality=10), None
    yield "lossy_alpha", save(with_alpha, "WEBP", quality=80), None
    yield "lossless", save(Image.fromarray(picture(61, 59, 53)), "WEBP", lossless=True), None
    yield "lossless_alpha", save(with_alpha, "WEBP", lossless=True, exact=True), None
    yield "lossless_palette", save(plain.quantize(16).convert("RGB"), "WEBP", lossless=True), None
    yield "exif5", save(plain, "WEBP", quality=75, exif=b"Exif\0\0" + exif(5)), None
    yield "1x1", save(Image.fromarray(picture(1, 1, 54)), "WEBP"), None
    frames = [Image.fromarray(picture(64, 80, seed)) for seed in (55, 56, 57)]
    yield "animated", save(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=60), None
    moved = bytearray(save(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=60))
    # A canvas of 100 x 90, on which the first frame begins at 6, 4.
    moved[24:30] = struct.pack("<I", 99)[:3] + struct.pack("<I", 89)[:3]
    frame = moved.index(b"ANMF") + 8
    moved[frame : frame + 6] = struct.pack("<I", 3)[:3] + struct.pack("<I", 2)[:3]
    yield "animated_moved", bytes(moved), None


def gif_files():
    colors = Image.fromarray(picture(75, 90, 60)).quantize(200)
    yield "interlaced", save(colors, "GIF"), None
    yield "in_rows", save(colors, "GIF", interlace=0), None
    yield "clear", save(colors, "GIF", transparency=3), None
    yield "grey", save(Image.fromarray(picture(31, 31, 61)).convert("L"), "GIF"), None
    yield "4colors", save(Image.fromarray(picture(20, 33, 62)).quantize(4), "GIF"), None
    frames = [Image.fromarray(picture(40, 50, seed)).quantize(64) for seed in (63, 64)]
    yield "animated", save(frames[0], "GIF", save_all=True, append_images=frames[1:]), None
    for name, options in (("moved", {}), ("moved_clear", {"transparency": 7})):
        moved = bytearray(save(colors, "GIF", **options))
        # A screen of 110 x 95, on which the frame begins at 11, 9.
        moved[6:10] = struct.pack("<HH", 110, 95)
        frame = moved.index(b"," + struct.pack("<HHHH", 0, 0, 90, 75))
        moved[frame + 1 : frame + 5] = struct.pack("<HH", 11, 9)
        yield name, bytes(moved), None
    larger = bytearray(save(colors, "GIF"))
    larger[6:10] = struct.pack("<HH", 30, 20)
    yield "larger_than_screen", bytes(larger), None


def all_files():
    for kind, files in (("png", png_files), ("jpg", jpeg_files), ("webp", webp_files), ("gif", gif_files)):
        for name, data, rgb in files():
            yield f"{kind}_{name}.{kind}", data, rgb
