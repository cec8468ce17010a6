#!/bin/bash
# Holds the tree to its shape (see check_arrows), after having shown on a tree
# of its own that each way to break it is noticed.
set -euo pipefail

check=$PWD/tests/build/check_arrows
root=$(dirname "$(readlink -f WORKSPACE)")
failed=0

# A tree that is in order, at $1.
good_tree() {
  rm -rf "$1"
  mkdir -p "$1"/{actors,deploy,kernels,proto,storage,tests}
  touch "$1"/{WORKSPACE,BUILD.bazel,README.md,LICENSE,.bazelrc}
  ln -s /nowhere "$1/bazel-out"
  cat >"$1/kernels/BUILD" <<'BUILD'
load("//deploy/bazel:copts.bzl", "KERNEL_COPTS")

package(default_visibility = ["//storage:__subpackages__"])

# Not a dependency: "//actors:stage".
cc_library(name = "k", deps = [":x", "//kernels/y", "@system//:onednn"])
BUILD
  cat >"$1/storage/BUILD" <<'BUILD'
cc_library(name = "s", deps = ["//kernels:k", "//proto", "@system//:rocksdb"])
BUILD
  cat >"$1/actors/BUILD" <<'BUILD'
cc_library(name = "a", deps = ["//storage:s", "//kernels:k", "@system//:caf"])
BUILD
  cat >"$1/deploy/BUILD" <<'BUILD'
cc_binary(name = "d", deps = ["//actors:a", "@system//:rocksdb"])
BUILD
  cat >"$1/tests/BUILD" <<'BUILD'
cc_test(name = "t", deps = ["//actors:a", "//deploy:d", "@system//:gtest_main"])
BUILD
  cat >"$1/kernels/k.cc" <<'CC'
#include "kernels/k.h"

#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "hwy/highway.h"
CC
  echo '#include "storage/s.h"' >"$1/actors/a.cc"
}

# Expects that the line $2 at the end of the file $1 is complained about, with
# the file's name, the line's number and the words $3.
noticed() {
  local tree=$TEST_TMPDIR/tree said=0 complaints line
  good_tree "$tree"
  mkdir -p "$(dirname "$tree/$1")"
  echo "$2" >>"$tree/$1"
  line=$(wc -l <"$tree/$1")
  complaints=$("$check" "$tree") || said=$?
  if [[ $said -ne 1 || $complaints != "$1:$line: "*"$3"* ]]; then
    echo "FAILED: '$2' in $1 should be refused with '$3'; exit $said:"
    echo "$complaints"
    failed=1
  fi
}

good_tree "$TEST_TMPDIR/tree"
if ! "$check" "$TEST_TMPDIR/tree"; then
  echo "FAILED: a tree in order should pass"
  failed=1
fi

noticed kernels/BUILD 'D = ["//storage:s"]' 'kernels/ must not use storage/'
noticed kernels/BUILD "D = ['//actors:a']" 'kernels/ must not use actors/'
noticed kernels/y/BUILD 'D = ["//proto"]' 'kernels/ must not use proto/'
noticed kernels/y.bzl 'D = ["@lapidary//deploy:d"]' 'must not use deploy/'
noticed kernels/BUILD 'D = ["@system//:rocksdb"]' 'must not use rocksdb'
noticed storage/BUILD 'D = [":x", "//actors"]' 'storage/ must not use actors/'
noticed storage/BUILD 'D = ["//deploy:d"]' 'storage/ must not use deploy/'
noticed storage/BUILD 'D = ["@system//:caf"]' 'storage/ must not use caf'
noticed actors/BUILD 'D = ["//deploy:d"]' 'actors/ must not use deploy/'
noticed actors/BUILD 'D = ["@system//:rocksdb"]' 'must not use rocksdb'
noticed proto/BUILD 'D = ["//kernels:k"]' 'proto/ must not use kernels/'
noticed storage/BUILD 'D = ["//tests/support:x"]' 'must not use tests/'
noticed deploy/BUILD 'D = ["//tests:t"]' 'deploy/ must not use tests/'
noticed kernels/k.cc '#include "storage/s.h"' 'kernels/ must not use storage/'
noticed kernels/k.h '#include <caf/all.hpp>' 'kernels/ must not use caf'
noticed kernels/k.h '# include "grpcpp/grpcpp.h"' 'must not use grpc'
noticed kernels/k.h '#include <rocksdb/db.h>' 'must not use rocksdb'
noticed kernels/k.h '#include "absl/flags/flag.h"' 'knows no files'
noticed kernels/k.h '#include <fstream>' 'knows no files'
noticed kernels/k.h '#include "other.h"' 'does not start at the root'
noticed storage/s.cc '#include "actors/a.h"' 'storage/ must not use actors/'
noticed actors/a.cc '#include "deploy/d.h"' 'actors/ must not use deploy/'
noticed deploy/d.cc '#include "tests/support/x.h"' 'must not use tests/'

for change in 'mkdir src:src: not a name' 'rm LICENSE:LICENSE: missing'; do
  good_tree "$TEST_TMPDIR/tree"
  (cd "$TEST_TMPDIR/tree" && ${change%%:*})
  if complaints=$("$check" "$TEST_TMPDIR/tree") ||
    [[ $complaints != "${change#*:}"* ]]; then
    echo "FAILED: '${change%%:*}' should be refused: $complaints"
    failed=1
  fi
done

if ! "$check" "$root"; then
  echo "FAILED: $root breaks its shape, as said above (see check_arrows)"
  failed=1
fi
exit $failed
