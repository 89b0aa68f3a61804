"""A search that goes through an image panel by panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.pixels.tables import PanelTable
from stages.records.geometry import DetGeom

Array = NDArray[Any]


def search_each_panel(
    arrays: Sequence[tuple[PanelTable, Array]],
    geom: DetGeom,
    found: NDArray[np.float64],
    search: Callable[[Array, Array, int], int],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Search all panels that are not no_index; return the panel of each peak and its row, in the order of the geometry.

    Parameters
    ----------
    found
        float64 (most peaks of a panel, columns): what `search` fills.
    search
        Takes a flat array of pixels, where one panel lies in it and the panel's number; returns how many rows it has filled.
    """
    rows = [found[:0].copy() for _ in geom.panels]
    for table, flat in arrays:
        for number, where in zip(table.panel.tolist(), table.where, strict=True):
            if not geom.panels[number].no_index:
                rows[number] = found[: search(flat, where, number)].copy()
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)
