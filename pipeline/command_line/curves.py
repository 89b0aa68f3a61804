"""Curves made of letters.

>>> bars([0, 1, 2, 3, 4, math.nan, 8], top=8)
['▁▂▃▄▅ █']
>>> bars([0, 4, 8], top=8, lines=2)
[' ▁█', '▁██']
>>> bars([0, 4, 8], top=8, ascii_only=True)
['_=#']
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS, _ASCII = " ▁▂▃▄▅▆▇█", " _.:-=+*#"


def bars(values: Sequence[float], top: float, lines: int = 1, *, ascii_only: bool = False) -> list[str]:
    """Draw a bar for each value, from 0 to `top`, so many lines high; the upper line is first. A NaN leaves its column empty.

    A bar is never nothing, so that a rate of 0 is told from none.
    """
    letters = _ASCII if ascii_only else _BLOCKS
    steps = len(letters) - 1
    heights = [0 if math.isnan(value) else 1 + round((lines * steps - 1) * min(1.0, value / top)) for value in values]
    return [
        "".join(letters[min(steps, max(0, height - steps * below))] for height in heights)
        for below in reversed(range(lines))
    ]


def round_top(largest: float) -> float:
    """Return a round number that is not smaller: 1, 2 or 5 times a power of ten.

    >>> round_top(0.0), round_top(3.2), round_top(101)
    (1.0, 5.0, 200.0)
    """
    if not largest > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= largest * (1 - 1e-9))
