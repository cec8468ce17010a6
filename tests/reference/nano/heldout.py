"""Which examples are never trained on: a hash decides, so that no run, seed or resumed session can leak."""

import hashlib


def is_held_out(*key, one_in):
    """Whether the item named by `key` belongs to the held-out part, about one item in `one_in`."""
    digest = hashlib.md5("|".join(map(str, key)).encode()).hexdigest()
    return int(digest[:8], 16) % one_in == 0
