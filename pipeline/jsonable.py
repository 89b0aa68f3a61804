"""Figures as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from toolz import keymap, valmap


def jsonable(value: Any) -> Any:
    """Return a value without what JSON knows not: numbers that are not finite become null, arrays and tuples lists.

    >>> jsonable({1: (0.5, float("nan")), "b": "text"})
    {'1': [0.5, None], 'b': 'text'}
    """
    if isinstance(value, Mapping):
        return keymap(str, valmap(jsonable, value))
    if hasattr(value, "tolist"):  # of numpy, which the engine does without
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
