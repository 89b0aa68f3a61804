"""Numbers that all kernels of the peak searches share, and the tuples in which pixels reach them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LARGEST = np.float32(np.finfo(np.float32).max)
"""No finite pixel is beyond it: ``abs(value) <= LARGEST`` is false for infinity and for NaN."""
ANY_ORDER = {"reassoc", "nsz", "contract"}
"""`fastmath` of sums that may be taken in any order; NaN stays NaN."""


class ArrayPixels(NamedTuple):
    """The pixels of one array of the message.

    Attributes
    ----------
    flat
        All of them in a row, of any type.
    where
        int64 (P, 6), a row for each panel; its columns are those of ``stages/pixels/columns.py``.
    """

    flat: Array
    where: Array


class PanelPixels(NamedTuple):
    """The pixels of one panel.

    Attributes
    ----------
    flat
        The array in which it comes, all pixels in a row, of any type.
    where
        int64 (6,), the panel's row of the table; its columns are those of ``stages/pixels/columns.py``.
    bad
        uint8, bad pixels of all panels in packed order.
    """

    flat: Array
    where: Array
    bad: Array
