"""Ten thousand strings meant to break a tokenizer, from one seed.

Each string is a run of 1 to 12 fragments, each fragment drawn from:
  piece       1-4 pieces of the vocabulary, spelled as stored (U+2581 and all) or with spaces for U+2581
  words       lower-case ASCII letters with digits and punctuation between
  codepoints  1-6 code points of one plane or one block, any but surrogates
  blanks      1-40 times one of: space, newline, tab, CR, CRLF, U+2581, U+00A0, U+3000, U+200B
  special     the name of an added token, whole, cut short, or doubled
  control     1-4 of U+0000..U+001F, U+007F..U+009F
  marks       a letter with combining marks, a ZWJ sequence, a flag, right-to-left marks
One string in twenty is not text but bytes: UTF-8 with bytes replaced, dropped or put in.
"""

import random

SEED = 20240613
COUNT = 10000
BLOCKS = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F),
    (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x2000, 0x206F),
    (0x2580, 0x259F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xFE00, 0xFE0F),
    (0xFFF0, 0xFFFF), (0x10000, 0x1FFFF), (0x1F300, 0x1F6FF), (0x20000, 0x2FFFF), (0xE0000, 0xEFFFF),
    (0xF0000, 0x10FFFF),
]
BLANKS = [" ", "\n", "\t", "\r", "\r\n", "\u2581", "\u00a0", "\u3000", "\u200b"]
MARKS = [
    "e\u0301", "a\u0328\u0301\u0323", "\u1100\u1161\u11a8", "\u0915\u094d\u0937", "\U0001f469\u200d\U0001f680",
    "\U0001f1eb\U0001f1f7", "\u200f\u05d0\u200e", "\u202eabc\u202c", "\u2764\ufe0f", "\U0001f3f4\U000e0067\U000e007f",
]


class Strings:
    def __init__(self, pieces, added):
        self._rng = random.Random(SEED)
        self._pieces, self._added = pieces, added

    def all(self):
        """COUNT values, each a str, or bytes that are (mostly) not UTF-8."""
        return [self._bytes() if i % 20 == 19 else self._string() for i in range(COUNT)]

    def _string(self):
        kinds = [self._piece, self._words, self._codepoints, self._blanks, self._special, self._control, self._marks]
        weights = [30, 25, 15, 10, 10, 4, 6]
        count = self._rng.randint(1, 12) if self._rng.random() < 0.4 else self._rng.randint(1, 4)
        return "".join(kind() for kind in self._rng.choices(kinds, weights, k=count))

    def _piece(self):
        text = "".join(self._rng.choice(self._pieces) for _ in range(self._rng.randint(1, 4)))
        return text if self._rng.random() < 0.3 else text.replace("\u2581", " ")

    def _words(self):
        words = []
        for _ in range(self._rng.randint(1, 4)):
            letters = self._rng.choices("etaoinshrdlucmwfgypbvkjxqz", k=self._rng.randint(1, 8))
            words.append("".join(letters) + self._rng.choice(["", "", "", "0", "42", ".", ",", "'s", "-", "!?"]))
        return " ".join(words)

    def _codepoints(self):
        low, high = self._rng.choice(BLOCKS)
        return "".join(chr(self._rng.randint(low, high)) for _ in range(self._rng.randint(1, 6)))

    def _blanks(self):
        return self._rng.choice(BLANKS) * int(self._rng.paretovariate(0.8) % 40 + 1)

    def _special(self):
        name = self._rng.choice(self._added)
        shape = self._rng.random()
        if shape < 0.6:
            return name
        if shape < 0.8:
            return name[:self._rng.randint(1, len(name))]
        return name[:self._rng.randint(0, len(name))] + name

    def _control(self):
        points = list(range(0x20)) + list(range(0x7F, 0xA0))
        return "".join(chr(self._rng.choice(points)) for _ in range(self._rng.randint(1, 4)))

    def _marks(self):
        return self._rng.choice(MARKS)

    def _bytes(self):
        data = bytearray(self._string().encode())
        for _ in range(self._rng.randint(1, 6)):
            at = self._rng.randint(0, len(data))
            what = self._rng.randrange(3)
            if what == 0:
                data[at:at] = bytes(self._rng.choices([0x80, 0xBF, 0xC0, 0xC3, 0xE2, 0xED, 0xA0, 0xF0, 0xF4, 0xF8, 0xFF], k=self._rng.randint(1, 4)))
            elif at < len(data):
                data[at:at + 1] = b"" if what == 1 else bytes([self._rng.randrange(256)])
        return bytes(data)
