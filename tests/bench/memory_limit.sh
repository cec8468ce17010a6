#!/bin/bash
# A node under --memory-limit, and inside a control group of the kernel's:
# memory, page faults and speed, in turn with a node that has no limit.
#
#   tests/bench/memory_limit.sh PACKED_MODEL [flags of memory_limit.py]
#
# Needs root (for the control group) and an idle machine; the model should be of
# E2B's shape in int4 (vs_llama.sh makes one).
set -euo pipefail

root=$(realpath "$(dirname "$0")/../..")
(cd "$root" && bazel build //deploy:lapidary //deploy:lapidaryd) >&2
exec python3 "$root/tests/bench/memory_limit.py" \
  --programs="$root/bazel-bin/deploy" "$@"
