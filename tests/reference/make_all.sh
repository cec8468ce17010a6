#!/bin/sh
# Writes all of tests/goldens again, with the pinned versions, in a virtual environment of its own.
#   tests/reference/make_all.sh [VENV]      default VENV: /tmp/lapidary-reference
# Takes some 15 minutes on two cores, most of them nano's float64 run. `git diff` shows afterwards whether anything changed; the last
# digits of noise figures may, between machines.
# Needs Debian's fonts-noto-color-emoji and espeak-ng for nano's pictures and sounds.
set -eu
for file in /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf /usr/bin/espeak-ng; do
  [ -e "$file" ] || { echo "$0: $file is missing; install fonts-noto-color-emoji and espeak-ng" >&2; exit 1; }
done
cd "$(dirname "$0")"
venv=${1:-/tmp/lapidary-reference}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet -r requirements.txt
for golden in synth spec text tokenizer chat nano nano_media vision audio image; do
  echo "== make_${golden}_goldens.py"
  "$venv/bin/python" "make_${golden}_goldens.py"
done
