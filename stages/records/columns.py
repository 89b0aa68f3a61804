"""Arrays that travel together, as numpy and pandas have tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError


def structured(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.void]:
    """Return a structured array with a field for each column; a column has shape (n, ...).

    >>> structured({"h": np.array([1, 2], np.int32), "intensity": np.array([0.5, 2.0])})["h"]
    array([1, 2], dtype=int32)
    """
    rows = len(next(iter(columns.values())))
    table = np.empty(rows, [(name, column.dtype, column.shape[1:]) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def data_frame(columns: Mapping[str, NDArray[Any]]) -> Any:
    """Return a pandas DataFrame; UserError says what to install where there is no pandas."""
    return the_pandas().DataFrame(dict(columns))


def the_pandas() -> Any:
    """Return the module pandas; UserError says what to install where there is none."""
    try:
        import pandas
    except ImportError as error:
        raise UserError("tables need pandas; install it with: pip install 'streamajig[tables]'") from error
    return pandas
