"""Frames made small enough for a browser, and parts of them as they are: pixels as 16 bits above an offset, or as floats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.monitor._kernels.pool import above_offset, highest_of_squares, range_of_good

Array = NDArray[Any]

MOST_PIXELS = 1_200_000
"""A browser draws so many several times a second."""

MASKED = 65535
"""What a masked pixel is written as in 16 bits; NaN in floats."""

_LARGEST = float(np.finfo(np.float32).max)


def side_for(shapes: Sequence[tuple[int, ...]], most: int = MOST_PIXELS) -> int:
    """Return the side of the smallest squares of which there are `most` at most on all panels together.

    >>> side_for([(2167, 2070)]), side_for([(64, 128)] * 128), side_for([(3, 3)], most=1)
    (2, 1, 3)
    """
    side = 1
    while num_squares(shapes, side) > most and side < max(max(shape) for shape in shapes):
        side += 1
    return side


def num_squares(shapes: Sequence[tuple[int, ...]], side: int) -> int:
    """How many squares of this side panels have.

    >>> num_squares([(5, 4)], 2)
    6
    """
    return sum(-(-height // side) * -(-width // side) for height, width in shapes)


@lru_cache(maxsize=4)
def nothing_masked(shape: tuple[int, ...]) -> Array:
    """The mask of a panel that has none."""
    return np.zeros(shape, np.uint8)


def as_received(array: Array) -> Array:
    """The array in one piece and not to be written to, as those of a message are: kernels are compiled for such ones alone."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def pooled(panels: Sequence[Array], bad: Sequence[Array], side: int) -> list[dict[str, Any]]:
    """Return the highest pixel of each square of each panel, as a message has it.

    Parameters
    ----------
    panels
        (h, w) each, any of the types of messages.
    bad
        uint8, as large, 1 marks what is masked; or empty.
    side
        Of the squares; 1 leaves the pixels as they are.

    Returns
    -------
    For each panel ``data`` and ``offset``: uint16, to which `offset` is to be added, 65535 where all is masked; or, where that
    cannot hold the values of all panels, float32 with NaN, and an `offset` of 0.
    """
    highest, good = [], []
    lowest, top = np.inf, -np.inf
    for panel, masked in zip(panels, bad or [nothing_masked(panel.shape) for panel in panels], strict=True):
        shape = (-(-panel.shape[0] // side), -(-panel.shape[1] // side))
        highest.append(np.empty(shape, panel.dtype))
        good.append(np.empty(shape, np.uint8))
        highest_of_squares(as_received(panel), as_received(masked), side, _lowest(panel.dtype), highest[-1], good[-1])
        low, high = range_of_good(highest[-1], good[-1])
        lowest, top = min(lowest, low), max(top, high)
    if all(panel.dtype.kind in "iu" for panel in panels) and (top - lowest < MASKED or top < lowest):
        offset = int(lowest) if top >= lowest else 0
        return [_in_16_bits(*of_panel, offset) for of_panel in zip(highest, good, strict=True)]
    return [_in_floats(*of_panel) for of_panel in zip(highest, good, strict=True)]


def _lowest(dtype: np.dtype[Any]) -> Array:
    return np.array([np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf], dtype)


def _in_16_bits(highest: Array, good: Array, offset: int) -> dict[str, Any]:
    data = np.empty(highest.shape, np.uint16)
    above_offset(highest, good, float(offset), MASKED, data)
    return {"data": data, "offset": offset}


def _in_floats(highest: Array, good: Array) -> dict[str, Any]:
    within = np.clip(highest, -_LARGEST, _LARGEST) if highest.dtype == np.float64 else highest
    return {"data": np.where(good, within.astype(np.float32), np.float32(np.nan)), "offset": 0}
