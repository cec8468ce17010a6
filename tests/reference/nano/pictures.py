"""Draws pictures of things: emoji of Debian's fonts-noto-color-emoji (OFL 1.1) on varied grounds.

Never mirrored: left and right are asked for. A picture follows from its things and
the random generator, so a seed names it (with this font and this Pillow).
"""

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from things import THINGS

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
STRIKE = 109  # the font's only bitmap size, in pixels


def _glyph(font, emoji):
    image = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((12, 12), emoji, font=font, embedded_color=True)
    return image.crop(image.getbbox())


def _colour(rng):
    return tuple(rng.randint(0, 255) for _ in range(3))


def _gradient(rng, size):
    ramp = np.linspace(0, 1, size)[None, :, None]
    pixels = np.broadcast_to(np.array(_colour(rng)) * (1 - ramp) + np.array(_colour(rng)) * ramp, (size, size, 3))
    if rng.random() < 0.5:
        pixels = pixels.transpose(1, 0, 2)
    return Image.fromarray(np.ascontiguousarray(pixels).astype(np.uint8))


def _clouds(rng, size):
    cells = rng.choice((3, 5, 9))
    noise = np.random.RandomState(rng.getrandbits(31)).randint(0, 256, (cells, cells, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.BICUBIC)


def _checks(rng, size):
    count, rows = rng.randint(3, 9), rng.randrange(2)  # rows = 0 makes stripes
    y, x = np.mgrid[0:size, 0:size]
    odd = (x * count // size + rows * (y * count // size)) % 2
    pixels = np.where(odd[..., None] == 0, np.array(_colour(rng)), np.array(_colour(rng)))
    return Image.fromarray(pixels.astype(np.uint8))


def _discs(rng, size):
    image = Image.new("RGB", (size, size), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 8)):
        x, y, radius = rng.randint(0, size), rng.randint(0, size), rng.randint(size // 16, size // 3)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(rng))
    return image


def _plain(rng, size):
    return Image.new("RGB", (size, size), _colour(rng) if rng.random() < 0.6 else (255, 255, 255))


def _ground(rng, size):
    return rng.choices((_plain, _gradient, _clouds, _checks, _discs), (0.35, 0.25, 0.2, 0.1, 0.1))[0](rng, size)


class Renderer:
    """Renders things into square RGB pictures of `size` pixels."""

    def __init__(self, size):
        font = ImageFont.truetype(FONT, STRIKE)
        self.size = size
        self.glyphs = [_glyph(font, thing.emoji) for thing in THINGS]

    def render(self, rng, things, easy=False):
        """uint8 [size][size][3]; `easy` pictures have a plain light ground and stand upright."""
        size = self.size
        image = Image.new("RGB", (size, size), (rng.randint(200, 255),) * 3) if easy else _ground(rng, size)
        turn = 6 if easy else 20
        if len(things) == 1:
            self._place(rng, image, things[0], (0, size), turn)
        else:
            middle = int(size * rng.uniform(0.45, 0.55))
            self._place(rng, image, things[0], (0, middle), turn)
            self._place(rng, image, things[1], (middle, size), turn)
        if rng.random() < 0.15:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0) * size / 128))
        pixels = np.asarray(image)
        if rng.random() < 0.3:
            noise = np.random.RandomState(rng.getrandbits(31)).normal(0, rng.uniform(2, 14), pixels.shape)
            pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        return pixels

    def _place(self, rng, image, thing, columns, turn):
        """Pastes one glyph somewhere between two columns: 55 to 98 % of their width before it is stretched and turned."""
        glyph, width = self.glyphs[thing], columns[1] - columns[0]
        scale = width * rng.uniform(0.55, 0.98) / max(glyph.size)
        stretched = [max(1, int(side * scale * rng.uniform(0.9, 1.1))) for side in glyph.size]
        glyph = glyph.resize(stretched, Image.BILINEAR).rotate(rng.uniform(-turn, turn), Image.BILINEAR, expand=True)
        if rng.random() < 0.5:
            colours = ImageEnhance.Color(glyph.convert("RGB")).enhance(rng.uniform(0.6, 1.4))
            colours = ImageEnhance.Brightness(colours).enhance(rng.uniform(0.75, 1.2))
            colours.putalpha(glyph.getchannel("A"))
            glyph = colours
        x = columns[0] + rng.random() * max(0, width - glyph.size[0])
        y = rng.random() * max(0, self.size - glyph.size[1])
        image.paste(glyph, (int(x), int(y)), glyph)
