"""Pixels of rare types as common ones, so that large kernels need not be compiled for every type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.pixel_types import COMMON_TYPES
from stages.pixels.tables import PanelTable
from stages.records.image import as_message_buffer

WIDER: dict[type, type] = {np.int8: np.int16, np.uint8: np.uint16}
"""Common types that hold all numbers of another one."""


class InCommonTypes:
    """Copies arrays whose type is not a common one; holds the copies of one replica.

    That changes no peak: 8-bit integers fit in 16 bits, and kernels take the others as float32 anyway (integers are added up
    exactly only where they are far smaller than what a float32 holds exactly).
    """

    def __init__(self) -> None:
        self._copies: list[NDArray[Any]] = []

    def __call__(self, arrays: list[tuple[PanelTable, NDArray[Any]]]) -> list[tuple[PanelTable, NDArray[Any]]]:
        """Return the arrays of one frame, those of rare types copied."""
        arrays = list(arrays)
        self._copies += [np.empty(0, np.float32)] * (len(arrays) - len(self._copies))
        for i, (table, flat) in enumerate(arrays):
            if flat.dtype.type in COMMON_TYPES:
                continue
            wanted = WIDER.get(flat.dtype.type, np.float32)
            copy = self._copies[i]
            if copy.shape != flat.shape or copy.dtype != wanted:
                self._copies[i] = copy = np.empty(flat.shape, wanted)
            # what is too large for float32 becomes infinite, as in the kernels
            with np.errstate(over="ignore", invalid="ignore"):
                np.copyto(copy, flat, casting="unsafe")
            arrays[i] = table, as_message_buffer(copy)
        return arrays
