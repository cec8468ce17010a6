"""The compiler flags of Lapidary's own C++ code."""

LAPIDARY_COPTS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    # Members that keep their default in a designated or partial initialiser
    # are the point of our option structs.
    "-Wno-missing-field-initializers",
]

# For the loops of kernels/. No -march and no -ffast-math: instruction sets are
# chosen at run time by oneDNN and Highway, and a float reduction keeps its
# order.
KERNEL_COPTS = LAPIDARY_COPTS + [
    "-O3",
]
