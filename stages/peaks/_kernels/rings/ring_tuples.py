"""What the kernels of the rings hand each other: blocks, samples, cores, listed pixels, and thresholds."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Blocks(NamedTuple):
    """The blocks of one array's panels.

    Attributes
    ----------
    table
        int32 (blocks, N_COLUMNS), of all panels; its columns are those of ``ring_blocks``.
    first
        int64 (P,): each panel's first block.
    """

    table: Array
    first: Array


class Samples(NamedTuple):
    """Some pixels of each ring.

    Attributes
    ----------
    value
        float32; those of ring r are ``value[first[r]:first[r + 1]]``, NaN where there is no number.
    first
        int64 (rings + 1,).
    out_of
        int64 (rings + 1,): how many pixels each ring has, the masked ones last.
    """

    value: Array
    first: Array
    out_of: Array


class Rule(NamedTuple):
    """How a ring's upper threshold follows from mean and sigma: mean + `min_snr` sigma, `threshold` at least."""

    threshold: float
    min_snr: float


class Core(NamedTuple):
    """What lies well within each ring's thresholds.

    Attributes
    ----------
    low, high
        float32 (rings + 1,): its bounds, exclusive.
    constant
        uint8 (rings,): 1 where it is one number alone.
    lows, highs
        float32 (levels, rings): range tables of the bounds (:func:`ring_blocks.range_tables`).
    """

    low: Array
    high: Array
    constant: Array
    lows: Array
    highs: Array


class Listed(NamedTuple):
    """Pixels that are looked at one by one: int32 place in packed order, and float32 value."""

    place: Array
    value: Array


class Thresholds(NamedTuple):
    """What is wanted of each ring: its mean, float64, and its upper threshold, float32; the masked pixels' ring is last."""

    offset: Array
    upper: Array
