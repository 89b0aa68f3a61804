"""Find the panel of each peak that somebody else has found, and its place there."""

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


LARGEST_COUNT = np.iinfo(np.int32).max


@kernel
def take(
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    intensity: NDArray[np.float64],
    shift: float,
    ranges: NDArray[np.float64],
    place: NDArray[np.float64],
    panel: NDArray[np.int32],
    kept: NDArray[np.int64],
) -> int:
    """List the peaks that lie on one panel and have an intensity; return how many.

    Position and intensity are those of the data array, and `shift` is added to the positions. Of the k-th that is listed
    ``kept[k]`` is its number, ``panel[k]`` its panel, and ``place[:, k]`` its fs and ss from the panel's corner and its
    intensity.
    """
    panel_of = np.empty(fs.size, np.int32)
    fs = fs + shift
    ss = ss + shift
    locate(fs, ss, ranges, panel_of)
    n = 0
    for k in range(fs.size):
        p = panel_of[k]
        if p < 0 or not np.isfinite(intensity[k]):
            continue
        kept[n] = k
        panel[n] = p
        place[0, n] = fs[k] - ranges[p, 0]
        place[1, n] = ss[k] - ranges[p, 2]
        place[2, n] = intensity[k]
        n += 1
    return n


@kernel
def counts(values: NDArray[np.float64], kept: NDArray[np.int64], out: NDArray[np.int32]) -> None:
    """Set ``out[k]`` to the whole number in ``values[kept[k]]``, what is too large or small to the nearest one; NaN to 0."""
    for k in range(kept.size):
        value = values[kept[k]]
        out[k] = 0 if np.isnan(value) else np.int32(min(max(value, 0.0), LARGEST_COUNT))
