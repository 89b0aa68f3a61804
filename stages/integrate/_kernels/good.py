"""Which reflections lie on pixels that are not known to be bad."""

from typing import Any

from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]


@kernel
def on_good_pixels(bad: Array, start: Array, width: Array, panel: Array, fs: Array, ss: Array, good: Array) -> int:
    """Fill `good` (n,) with whether the pixel at (fs, ss) of its panel is good; return how many are.

    `bad` is the mask in packed order (see :mod:`stages.pixels.tables`), uint8, in which panel p begins at ``start[p]`` and has
    rows of ``width[p]`` pixels. No place may be outside its panel.
    """
    n = 0
    for i in range(panel.size):
        p = panel[i]
        good[i] = bad[start[p] + int(ss[i]) * width[p] + int(fs[i])] == 0
        n += good[i]
    return n
