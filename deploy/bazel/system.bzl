"""@system: Debian's C++ libraries as cc_library targets.

Headers come from /usr/include, which Bazel does not watch. Each target
therefore carries the versions of all the packages named in
deploy/packages.txt as one hash in a define: upgrading any package recompiles
what uses a library.

Three facts decide how the libraries are linked:

*  libsentencepiece.so carries a Protobuf 3.14 of its own and exports it, while
   Debian's is 3.21. One process must not mix them, so Protobuf (and gRPC's
   reflection, which is made of it) is linked statically and hidden.
   tests/build/hidden_protobuf.bzl checks binaries for it.
*  libsentencepiece.so exports absl::ParseCommandLine(int, char**) as well: its
   target puts Abseil in front of it on the link line.
*  Static archives hold Abseil under gRPC twice; all but Protobuf is shared.
"""

_BUILD = """
package(default_visibility = ["//visibility:public"])

_PACKAGES = ["LAPIDARY_SYSTEM_PACKAGES={hash}"]

_ABSL = [
    "-Wl,--push-state,--as-needed",
    {absl}
    "-Wl,--pop-state",
]

# Status, StatusOr, strings, flags, time, synchronization, hash, containers:
# all of Debian's Abseil (20220623 on Debian 12: no absl/log).
cc_library(
    name = "absl",
    defines = _PACKAGES,
    linkopts = _ABSL + ["-pthread"],
)

cc_library(
    name = "protobuf",
    srcs = ["lib/libprotobuf.a"],
    defines = _PACKAGES,
    linkopts = ["-Wl,--exclude-libs,ALL", "-lz", "-pthread"],
)

# gRPC C++, the health service and server reflection.
cc_library(
    name = "grpc",
    srcs = ["lib/libgrpc++_reflection.a"],
    defines = _PACKAGES,
    linkopts = ["-lgrpc++", "-lgrpc", "-lgpr"],
    deps = [":absl", ":protobuf"],
)

# CAF's core. Its network layer is not used.
cc_library(
    name = "caf",
    defines = _PACKAGES,
    linkopts = ["-lcaf_core", "-pthread"],
)

# oneDNN, on Debian built with OpenMP, whose runtime float_product.cc calls.
cc_library(
    name = "onednn",
    defines = _PACKAGES,
    linkopts = [
        "-ldnnl",
        "-lgomp",
    ],
)

cc_library(
    name = "rocksdb",
    defines = _PACKAGES,
    linkopts = ["-lrocksdb", "-pthread"],
)

# sentencepiece_processor.h and Abseil's headers cannot share a translation
# unit: both declare absl::string_view.
cc_library(
    name = "sentencepiece",
    defines = _PACKAGES,
    linkopts = _ABSL + ["-lsentencepiece"],
)

cc_library(
    name = "highway",
    defines = _PACKAGES,
    linkopts = ["-lhwy"],
)

# nlohmann/json.hpp; headers only.
cc_library(
    name = "json",
    defines = _PACKAGES,
)

# Decoders of images, one library a format.
cc_library(
    name = "png",
    defines = _PACKAGES,
    linkopts = ["-lpng16"],
)

cc_library(
    name = "jpeg",
    defines = _PACKAGES,
    linkopts = ["-ljpeg"],
)

cc_library(
    name = "webp",
    defines = _PACKAGES,
    linkopts = ["-lwebpdemux", "-lwebp"],
)

cc_library(
    name = "gif",
    defines = _PACKAGES,
    linkopts = ["-lgif"],
)

# Sound: WAV, FLAC and Ogg by one library, MP3 by another (which comes with
# it), resampling, and kissfft.hh, a template of any precision.
cc_library(
    name = "sndfile",
    defines = _PACKAGES,
    linkopts = ["-lsndfile"],
)

cc_library(
    name = "mpg123",
    defines = _PACKAGES,
    linkopts = ["-lmpg123"],
)

cc_library(
    name = "soxr",
    defines = _PACKAGES,
    linkopts = ["-lsoxr"],
)

cc_library(
    name = "kissfft",
    defines = _PACKAGES,
)

# Media that a request names by URL.
cc_library(
    name = "curl",
    defines = _PACKAGES,
    linkopts = ["-lcurl"],
)

# Ogg Vorbis; libsndfile depends on it.
cc_library(
    name = "vorbisfile",
    defines = _PACKAGES,
    linkopts = ["-lvorbisfile", "-lvorbis", "-logg"],
)

# OpenSSL's hashes; gRPC depends on it.
cc_library(
    name = "crypto",
    defines = _PACKAGES,
    linkopts = ["-lcrypto"],
)

cc_library(
    name = "xxhash",
    defines = _PACKAGES,
    linkopts = ["-lxxhash"],
)

cc_library(
    name = "zlib",
    defines = _PACKAGES,
    linkopts = ["-lz"],
)

# GoogleTest and GoogleMock, without a main.
cc_library(
    name = "gtest",
    testonly = True,
    srcs = ["lib/libgmock.a", "lib/libgtest.a"],
    defines = _PACKAGES,
    linkopts = ["-pthread"],
)

# The same, and a main that starts both.
cc_library(
    name = "gtest_main",
    testonly = True,
    srcs = ["lib/libgmock_main.a"],
    deps = [":gtest"],
)

# Google Benchmark, without a main.
cc_library(
    name = "benchmark",
    testonly = True,
    defines = _PACKAGES,
    linkopts = ["-lbenchmark", "-pthread"],
)

# For the check that no binary shares symbols with it.
exports_files(["lib/libsentencepiece.so"])

filegroup(
    name = "protoc",
    srcs = ["bin/protoc"],
)

filegroup(
    name = "grpc_cpp_plugin",
    srcs = ["bin/grpc_cpp_plugin"],
)
"""

_LIBRARIES = [
    "libgmock.a",
    "libgmock_main.a",
    "libgrpc++_reflection.a",
    "libgtest.a",
    "libprotobuf.a",
    "libsentencepiece.so",
]

_PROGRAMS = ["protoc", "grpc_cpp_plugin"]

_REMEDY = "run deploy/install-packages (it installs deploy/packages.txt)"

def _run(ctx, command):
    result = ctx.execute(command)
    if result.return_code != 0:
        fail("%s: %s%s" % (" ".join(command), result.stderr, _REMEDY))
    return result.stdout.strip()

def _packages(ctx):
    lines = ctx.read(ctx.attr.packages).splitlines()
    return [
        line.strip()
        for line in lines
        if line.strip() and not line.startswith("#")
    ]

def _system_libraries_impl(ctx):
    folder = "/usr/lib/" + _run(ctx, ["gcc", "-print-multiarch"])
    for library in _LIBRARIES:
        path = ctx.path(folder + "/" + library)
        if not path.exists:
            fail("%s is missing: %s" % (path, _REMEDY))
        ctx.symlink(path, "lib/" + library)
    for program in _PROGRAMS:
        path = ctx.which(program)
        if path == None:
            fail("%s is missing: %s" % (program, _REMEDY))
        ctx.symlink(path, "bin/" + program)
    absl = [
        path.basename[len("lib"):-len(".so")]
        for path in ctx.path(folder).readdir()
        if path.basename.startswith("libabsl_") and
           path.basename.endswith(".so") and
           "_test_" not in path.basename
    ]
    versions = _run(
        ctx,
        ["dpkg-query", "-W", "-f=${Package}=${Version}\\n"] + _packages(ctx),
    )
    ctx.file("versions.txt", versions + "\n")
    ctx.file("BUILD", _BUILD.format(
        absl = "\n    ".join(['"-l%s",' % name for name in sorted(absl)]),
        hash = hash(versions) & 0x7fffffff,
    ))

system_libraries = repository_rule(
    implementation = _system_libraries_impl,
    attrs = {
        "packages": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "Debian packages, one a line; # starts a comment.",
        ),
    },
    # Looked at anew by every server, so that an upgrade is noticed.
    local = True,
    doc = "Declares the repository of Debian's libraries.",
)
