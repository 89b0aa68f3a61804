"""What the kernels of peaks/likelihood hand each other: pixels, background, limits, candidates."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class RawPixels(NamedTuple):
    """The pixels of one array of the message.

    Attributes
    ----------
    raw
        Their bytes in a row, uint8.
    kind
        The number of their type in ``PIXEL_TYPES``.
    where
        int64 (P, 6), a row for each panel; its columns are those of ``stages/pixels/columns.py``.
    is_bad
        uint8, packed order: 1 for pixels of all panels that are not to be looked at.
    """

    raw: Array
    kind: int
    where: Array
    is_bad: Array


class BadPixels(NamedTuple):
    """The bad pixels as a list: int32 packed places, ascending, and the cell of each."""

    place: Array
    cell: Array


class Background(NamedTuple):
    """int32 cell of each pixel (packed order), and float64 mean and variance of each cell."""

    cell: Array
    mean: Array
    variance: Array


class SquareLimits(NamedTuple):
    """What the sum over a square of 5 x 5 pixels must exceed.

    Attributes
    ----------
    of_cell, of_tile
        float32: in each cell, and the least of it in each tile.
    first_tile
        int64 (P,): first tile of each panel of the array.
    """

    of_cell: Array
    of_tile: Array
    first_tile: Array


class Candidates(NamedTuple):
    """The candidates of one array.

    Attributes
    ----------
    place
        int32 (n,), packed places, ascending within each panel but for pixels of two rows that were looked at together.
    level
        float64 (n,): height above the background in the smoothed image.
    panel
        int64 (n,): the panel's row in the array's table.
    parent
        int64 (n,): the number of the highest candidate of the peak to which it belongs.
    label
        int32, packed order: 1 + the candidate's number at each candidate, 0 elsewhere.
    """

    place: Array
    level: Array
    panel: Array
    parent: Array
    label: Array


class Widths(NamedTuple):
    """Widths of peaks (standard deviations, pixels): the usual one of a frame, NaN if not known; least and greatest."""

    usual: float
    narrowest: float
    widest: float
