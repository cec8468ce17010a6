#!/bin/sh
# Writes all of tests/goldens again, with the pinned versions, in a virtual environment of its own.
#   tests/reference/make_all.sh [VENV]      default VENV: /tmp/lapidary-reference
# Takes some 15 minutes on two cores, most of them nano's float64 run. `git diff` shows afterwards whether anything changed; the last
# digits of noise figures may, between machines.
set -eu
cd "$(dirname "$0")"
venv=${1:-/tmp/lapidary-reference}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet -r requirements.txt
for golden in synth spec text tokenizer chat nano nano_media; do
  echo "== make_${golden}_goldens.py"
  "$venv/bin/python" "make_${golden}_goldens.py"
done
