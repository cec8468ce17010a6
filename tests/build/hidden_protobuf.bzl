"""A check that a binary keeps its Protobuf to itself.

libsentencepiece.so exports a Protobuf of another version. A binary that exports
a single google::protobuf symbol shares state with it, and the process dies
before main() or, worse, does not.
"""

def hidden_protobuf_test(name, binary, **kwargs):
    """Fails if `binary` has a google::protobuf symbol in its dynamic table."""
    native.sh_test(
        name = name,
        size = "small",
        srcs = ["//tests/build:hidden_protobuf_test.sh"],
        args = ["$(rootpath %s)" % binary],
        data = [binary],
        **kwargs
    )
