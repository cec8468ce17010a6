#!/bin/bash
# Fails if the binary $1 has a google::protobuf symbol in its dynamic table, or
# no dynamic table to look into. See hidden_protobuf.bzl.
#
# With --refuses it is the other way round: passes only if the binary is refused for
# such symbols, which shows that the check can see them.
set -euo pipefail

refuses=
if [[ $1 == --refuses ]]; then
  refuses=yes
  shift
fi

symbols=$(nm -DC "$1")
if ! grep -q ' U ' <<<"$symbols"; then
  echo "$1: no dynamic symbols: not a binary that can be judged" >&2
  exit 1
fi
leaked=$(grep 'google::protobuf' <<<"$symbols" || true)

if [[ -n $refuses ]]; then
  [[ -n $leaked ]]
elif [[ -n $leaked ]]; then
  echo "$1 shares these Protobuf symbols with libsentencepiece.so:" >&2
  echo "$leaked" >&2
  echo "Archives are hidden: move the code that uses Protobuf from the binary's" \
    "own srcs into a cc_library." >&2
  exit 1
fi
