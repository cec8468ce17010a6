"""Protobuf and gRPC code, made by Debian's protoc and grpc_cpp_plugin.

    lapidary_proto_library(
        name = "service",
        srcs = ["lapidary/v1/service.proto"],
        deps = [":types"],     # other lapidary_proto_libraries it imports
    )

in package proto gives the cc_library :service with the headers
"proto/lapidary/v1/service.pb.h" and, where grpc is True (the default),
"proto/lapidary/v1/service.grpc.pb.h". A .proto imports others by their path
from the workspace's root; Google's own (google/protobuf/…) are found.
"""

def _generate_impl(ctx):
    protos = depset(
        ctx.files.srcs,
        transitive = [dep[DefaultInfo].files for dep in ctx.attr.protos],
    )
    args = ctx.actions.args()
    args.add("--proto_path=.")
    args.add("--cpp_out=" + ctx.bin_dir.path)
    if ctx.attr.grpc:
        args.add(ctx.file._plugin, format = "--plugin=protoc-gen-grpc=%s")
        args.add("--grpc_out=" + ctx.bin_dir.path)
    args.add_all(ctx.files.srcs)
    ctx.actions.run(
        # Run as /usr/bin/protoc, protoc finds Google's .proto files beside it.
        executable = "/usr/bin/protoc",
        arguments = [args],
        inputs = depset(
            [ctx.file._protoc, ctx.file._plugin],
            transitive = [protos],
        ),
        outputs = ctx.outputs.outs,
        mnemonic = "Protoc",
        progress_message = "Generating C++ from %s" % ctx.label,
    )

_generate = rule(
    implementation = _generate_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".proto"], mandatory = True),
        "protos": attr.label_list(allow_files = [".proto"]),
        "grpc": attr.bool(),
        "outs": attr.output_list(mandatory = True),
        "_protoc": attr.label(
            default = "@system//:protoc",
            allow_single_file = True,
        ),
        "_plugin": attr.label(
            default = "@system//:grpc_cpp_plugin",
            allow_single_file = True,
        ),
    },
)

def lapidary_proto_library(
        name,
        srcs,
        deps = [],
        grpc = True,
        visibility = None,
        testonly = None):
    """A cc_library of the code generated from `srcs`.

    Args:
      name: of the cc_library; NAME_protos is a filegroup of all its .proto
        files, those of `deps` included.
      srcs: .proto files of this package.
      deps: lapidary_proto_library targets whose files `srcs` import.
      grpc: also generate services.
      visibility: as for any rule.
      testonly: as for any rule.
    """
    stems = [src[:-len(".proto")] for src in srcs]
    kinds = [".pb"] + ([".grpc.pb"] if grpc else [])
    headers = [stem + kind + ".h" for stem in stems for kind in kinds]
    sources = [stem + kind + ".cc" for stem in stems for kind in kinds]
    protos = [
        (dep if ":" in dep else "%s:%s" % (dep, dep.split("/")[-1])) + "_protos"
        for dep in deps
    ]
    native.filegroup(
        name = name + "_protos",
        srcs = srcs + protos,
        visibility = visibility,
        testonly = testonly,
    )
    _generate(
        name = name + "_generated",
        srcs = srcs,
        protos = protos,
        grpc = grpc,
        outs = headers + sources,
        visibility = ["//visibility:private"],
        testonly = testonly,
    )

    # Not LAPIDARY_COPTS: what Google's generators write is theirs.
    native.cc_library(
        name = name,
        srcs = sources,
        hdrs = headers,
        copts = ["-w"],
        visibility = visibility,
        testonly = testonly,
        deps = deps + ["@system//:grpc" if grpc else "@system//:protobuf"],
    )
