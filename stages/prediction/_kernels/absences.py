"""Which reflections the centring of a lattice forbids."""

from stages.compute.kernel import kernel

CENTERING_CODES = "PABCIFRH"
"""The kernels know a centring by its place in this string; R and H are rhombohedral and hexagonal axes (obverse)."""

MAX_INDEX = 511
"""CrystFEL's readers know no larger Miller index."""


@kernel
def is_centred(centering: int) -> bool:
    """Say whether a centring forbids any reflection."""
    return centering not in (0, 6)


@kernel
def is_absent(centering: int, h: int, k: int, ll: int) -> bool:
    """Say whether the lattice's centring (its place in CENTERING_CODES) forbids a reflection; H is the obverse setting."""
    if centering == 1:
        return (k + ll) % 2 != 0
    if centering == 2:
        return (h + ll) % 2 != 0
    if centering == 3:
        return (h + k) % 2 != 0
    if centering == 4:
        return (h + k + ll) % 2 != 0
    if centering == 5:
        return (h + k) % 2 != 0 or (h + ll) % 2 != 0 or (k + ll) % 2 != 0
    if centering == 7:
        return (-h + k + ll) % 3 != 0
    return False
