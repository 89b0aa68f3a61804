"""Find the panel of each peak."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

OUTSIDE = -1
AMBIGUOUS = -2


@kernel
def locate(
    fs: NDArray[np.float64], ss: NDArray[np.float64], ranges: NDArray[np.float64], panel: NDArray[np.int32]
) -> None:
    """Set ``panel[k]`` to the panel that holds (fs[k], ss[k]), OUTSIDE if none does, AMBIGUOUS if several do.

    `ranges` is (P, 4): min_fs, max_fs + 1, min_ss, max_ss + 1 of each panel, the upper ends excluded. A position that is not
    finite is outside.
    """
    for k in range(fs.shape[0]):
        found = OUTSIDE
        for p in range(ranges.shape[0]):
            if ranges[p, 0] <= fs[k] < ranges[p, 1] and ranges[p, 2] <= ss[k] < ranges[p, 3]:
                if found != OUTSIDE:
                    found = AMBIGUOUS
                    break
                found = p
        panel[k] = found
