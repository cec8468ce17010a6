#!/bin/bash
# Lapidary against llama.cpp: the same shape, the same machine, the same run.
#
#   tests/bench/vs_llama.sh [--work=FOLDER] [flags of vs_llama.py]
#
# Builds llama.cpp from the source in a pinned llama-cpp-python, makes a model
# of E2B's shape with random weights in both forms (Q4_0 and Q8_0 by llama.cpp's
# own quantizer; int4 and int8 by lapidary pack), then runs both in turn and
# prints medians and ratios. Everything lies in FOLDER (~/.cache/lapidary/
# vs_llama) and is made once: 30 GB while it is being made, 15 GB after. Needs
# what the build needs, and cmake, python3 and its pip. The first run takes half
# an hour on two cores, and the machine should be idle.
set -euo pipefail

VERSION=0.3.36
SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

root=$(realpath "$(dirname "$0")/../..")
work=$HOME/.cache/lapidary/vs_llama
flags=()
for arg in "$@"; do
  case $arg in
    --work=*) work=${arg#--work=} ;;
    *) flags+=("$arg") ;;
  esac
done
mkdir -p "$work"
work=$(realpath "$work")

source_of_llama() {
  local name=llama_cpp_python-$VERSION
  [[ -d $work/$name ]] && return
  if [[ ! -e $work/$name.tar.gz ]]; then
    python3 -m pip download --quiet --no-deps --no-binary=llama-cpp-python \
      --dest "$work" "llama-cpp-python==$VERSION"
  fi
  echo "$SHA256  $work/$name.tar.gz" | sha256sum --check --quiet
  rm -rf "$work/unpacked"
  mkdir "$work/unpacked"
  tar xzf "$work/$name.tar.gz" -C "$work/unpacked"
  mv "$work/unpacked/$name" "$work/$name"
  # GCC 12's _tile_loadconfig claims to read 8 bytes of the 64, and the rest is
  # optimised away: on CPUs with AMX llama.cpp ends in SIGILL.
  sed -i 's/^    _tile_loadconfig(&tc);/    asm volatile("" : : "m"(tc));\n&/' \
    "$work/$name/vendor/llama.cpp/ggml/src/ggml-cpu/amx/mmq.cpp"
  rmdir "$work/unpacked"
}

build_llama() {
  local source=$work/llama_cpp_python-$VERSION/vendor/llama.cpp
  local programs=(llama-bench llama-batched-bench llama-server
    llama-quantize)
  local program
  for program in "${programs[@]}"; do
    [[ -x $work/build/bin/$program ]] && continue
    cmake -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release \
      -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DBUILD_SHARED_LIBS=OFF \
      -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
      -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF
    cmake --build "$work/build" --parallel "$(nproc)" --target "${programs[@]}"
    return
  done
}

build_lapidary() {
  (cd "$root" && bazel build //deploy:lapidary)
  lapidary=$root/bazel-bin/deploy/lapidary
}

models_of_llama() {
  local type
  for type in Q4_0 Q8_0; do
    [[ -e $work/e2b-$type.gguf ]] && continue
    if [[ ! -e $work/e2b-bf16.gguf ]]; then
      python3 "$root/tests/bench/hf_to_gguf.py" "$work/hf" \
        "$work/e2b-bf16.gguf"
    fi
    "$work/build/bin/llama-quantize" "$work/e2b-bf16.gguf" \
      "$work/unfinished.gguf" "$type" "$(nproc)"
    mv "$work/unfinished.gguf" "$work/e2b-$type.gguf"
  done
  rm -f "$work/e2b-bf16.gguf"
}

models_of_lapidary() {
  local dtype
  for dtype in int4 int8; do
    # A folder of an older format is packed anew.
    "$lapidary" inspect "$work/$dtype" > /dev/null 2>&1 && continue
    rm -rf "${work:?}/$dtype"
    "$lapidary" pack "$work/hf" "$work/$dtype" "--dtype=$dtype"
  done
}

{
  source_of_llama
  build_llama
  build_lapidary
  if [[ ! -e $work/hf/config.json ]]; then
    "$lapidary" synth --shape=e2b "$work/hf"
  fi
  models_of_llama
  models_of_lapidary
} >&2
exec python3 "$root/tests/bench/vs_llama.py" --work="$work" \
  --lapidary="$lapidary" "${flags[@]}"
