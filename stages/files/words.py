"""Words of text files that should be numbers."""

from __future__ import annotations

import math


def number_or_nan(word: str | bytes) -> float:
    """Return the number that a word is, NaN where it is none.

    >>> number_or_nan("12.5"), number_or_nan("nm")
    (12.5, nan)
    """
    try:
        return float(word)
    except ValueError:
        return math.nan
