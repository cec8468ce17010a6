#!/bin/bash
# Many live sounds at once, each at the pace at which it is spoken: how far the
# node falls behind, what share of real time encoding takes, and how long after
# a sound's end the first token of its answer comes.
#
#   tests/bench/live_streams.sh MODEL SOUND [STREAMS [FLAGS OF lapidaryd…]]
#
# MODEL is a packed folder; 8 streams without STREAMS; LISTEN_FLAGS, if set, are
# further flags of lapidary listen. Uses the programs of
# bazel-bin/deploy, or those of $PROGRAMS.
set -euo pipefail

[[ $# -ge 2 ]] || { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; exit 2; }
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
programs=${PROGRAMS:-$root/bazel-bin/deploy}
LISTEN_FLAGS=${LISTEN_FLAGS:-}
model=$1 sound=$2 streams=${3:-8}
shift $(($# < 3 ? $# : 3))

work=$(mktemp -d)
server=''
end() {
  [[ -z $server ]] || kill -TERM "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

"$programs/lapidaryd" --model="$model" --listen=127.0.0.1:0 --audio=pinned \
  "$@" >"$work/server" 2>&1 &
server=$!
address=''
for ((tries = 0; tries < 1200; ++tries)); do
  address=$(sed -n 's/^lapidaryd: listening on //p' "$work/server")
  [[ -z $address ]] || break
  kill -0 "$server" 2>/dev/null || { cat "$work/server" >&2; exit 1; }
  sleep 0.1
done
[[ -n $address ]] || { echo "lapidaryd does not listen" >&2; exit 1; }

listeners=()
for ((i = 0; i < streams; ++i)); do
  # shellcheck disable=SC2086  # several flags
  "$programs/lapidary" listen --server="$address" "$sound" --time-line $LISTEN_FLAGS \
    --temperature=0 --max-tokens=8 --ignore-eos \
    >"$work/answer.$i" 2>"$work/line.$i" </dev/null &
  listeners+=($!)
  sleep 0.06 # nobody begins in step
done
failed=0
for listener in "${listeners[@]}"; do wait "$listener" || failed=$((failed + 1)); done

cat "$work"/line.* | awk -v streams="$streams" -v failed="$failed" '
  / s taken, / {
    for (i = 1; i < NF; ++i) if ($(i + 2) ~ /^wait/) wait = $i
    waits[++w] = wait + 0
  }
  /answered; by the server/ {
    for (i = 1; i < NF; ++i) {
      if ($i == "came") first[++n] = $(i + 1)
      if ($i == "end," && $(i + 2) == "ms") encode += $(i + 1)
      if ($i == "of" && $(i + 1) == "computing") compute += $(i - 2)
      if ($i == "for" && $(i + 2) == "s") seconds += $(i + 1)
    }
  }
  function sorted(values, count,   i, j, x) {
    for (i = 2; i <= count; ++i)
      for (j = i; j > 1 && values[j] < values[j - 1]; --j) {
        x = values[j]; values[j] = values[j - 1]; values[j - 1] = x
      }
  }
  END {
    sorted(first, n); sorted(waits, w)
    printf "streams %d, answered %d, failed %d\n", streams, n, failed
    if (n == 0) exit 1
    printf "sound not encoded when a chunk is taken: median %.2f s, longest %.2f s\n", waits[int((w + 1) / 2)], waits[w]
    printf "first token after the end of the sound: median %.0f ms, longest %.0f ms; until all sound was encoded, on average %.0f ms\n", first[int((n + 1) / 2)], first[n], encode / n
    printf "encoding: %.1f %% of real time a stream\n", compute / 10 / seconds
  }'
