"""Arrays as kernels are compiled for: each kind of array that comes would be compiled for anew, while frames wait."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def plain(values: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Return values of this type (None: their own), in C order, in memory that could be written to; copied only where needed.

    >>> once = np.arange(4.0)
    >>> plain(once) is once, plain(once[::2]).tolist(), plain(once, np.int32).dtype
    (True, [0.0, 2.0], dtype('int32'))
    """
    found: NDArray[Any] = np.ascontiguousarray(values, dtype)
    return found if found.flags.writeable else found.copy()
