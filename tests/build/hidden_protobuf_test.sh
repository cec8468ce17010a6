#!/bin/bash
# Fails if the binary $1 has a google::protobuf symbol in its dynamic table, or
# no dynamic table to look into. See hidden_protobuf.bzl.
set -euo pipefail

symbols=$(nm -DC "$1")
if ! grep -q ' U ' <<<"$symbols"; then
  echo "$1: no dynamic symbols: not a binary this check can judge" >&2
  exit 1
fi
if leaked=$(grep 'google::protobuf' <<<"$symbols"); then
  echo "$1 shares these Protobuf symbols with libsentencepiece.so:" >&2
  echo "$leaked" >&2
  exit 1
fi
